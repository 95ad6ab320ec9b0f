// The models, and the mistakes that each must find.
import type { Edit } from '../mutants/guard-edit.js';
import * as half from '../mutants/half-message.mutants.js';
import * as local from '../mutants/local-message.mutants.js';
import type { Mutant } from '../mutants/mutant.js';
import * as saga from '../mutants/saga.mutants.js';
import * as tcc from '../mutants/tcc.mutants.js';
import * as xa from '../mutants/xa.mutants.js';
import { type Exploration, explore, type Model } from './explorer.js';
import { halfMessageModel } from './half-message.model.js';
import { localMessageModel } from './local-message.model.js';
import { sagaModel } from './saga.model.js';
import { tccModel } from './tcc.model.js';
import type { Budget } from './world.js';
import { xaModel } from './xa.model.js';

/** A mutant of the library, or several at once where one guard stands in for the other, and what the model says. */
interface Planted {
  readonly mutants: readonly Mutant[];
  readonly what: string;
}

interface Case {
  readonly scheme: string;
  readonly model: (budget: Budget, edits?: readonly Edit[]) => Promise<Model>;
  /** Found by the order of the steps alone. */
  readonly planted: readonly Planted[];
  /** Found by a crash or a fault. */
  readonly plantedForFaults: readonly Planted[];
  /** Mutants that change nothing here alone, because another guard or the server stands in. */
  readonly hidden: readonly Mutant[];
}

export const CASES: readonly Case[] = [
  {
    scheme: 'TCC',
    model: tccModel,
    planted: [
      { mutants: [tcc.casOff], what: 'the participant met an illegal call' },
      { mutants: [tcc.cancelUnrecorded], what: 'the transaction is cancelled, and its reservation stays' },
    ],
    plantedForFaults: [],
    hidden: [],
  },
  {
    scheme: 'saga',
    model: sagaModel,
    planted: [
      { mutants: [saga.undoUnrecorded], what: 'the saga is cancelled, and an effect stays' },
      { mutants: [saga.undoAgain], what: 'a step has run twice' },
      { mutants: [saga.pivotMarkedBlindly], what: 'the goods are put back, and the money is taken' },
      { mutants: [saga.answeredOnly], what: 'the saga is cancelled, and an effect stays' },
    ],
    plantedForFaults: [{ mutants: [saga.unfenced], what: 'the goods are put back, and the money is taken' }],
    hidden: [],
  },
  {
    scheme: 'half message',
    model: halfMessageModel,
    planted: [
      { mutants: [half.verdictApart], what: 'a message was sent whose sale never was' },
      { mutants: [half.lateIsLet], what: 'a message was sent whose sale never was' },
    ],
    plantedForFaults: [
      { mutants: [half.noSweeper], what: 'a sale is committed, and nothing will send its message' },
      { mutants: [half.checkIsARead, half.noSweeper], what: 'a sale is committed, and nothing will send its message' },
    ],
    hidden: [half.checkIsARead],
  },
  {
    scheme: 'local message',
    model: localMessageModel,
    planted: [
      { mutants: [local.noInbox], what: 'the stock is taken twice' },
      { mutants: [local.inboxRowApart], what: 'the message is DONE, and its stock was never taken' },
      { mutants: [local.receiptBeforeCommit], what: 'the message is DONE, and its stock was never taken' },
    ],
    plantedForFaults: [],
    hidden: [],
  },
  {
    scheme: 'XA on MariaDB',
    model: xaModel('MariaDB'),
    planted: [],
    plantedForFaults: [
      { mutants: [xa.claimOff], what: 'a branch stays prepared' },
      { mutants: [xa.notaIsDone], what: 'a branch stays prepared' },
    ],
    hidden: [],
  },
  {
    scheme: 'XA on MySQL',
    model: xaModel('MySQL'),
    planted: [],
    plantedForFaults: [{ mutants: [xa.claimOff], what: 'a branch stays prepared' }],
    // MySQL lets every session end a prepared branch, so the answer of XA COMMIT is true more often.
    hidden: [xa.notaIsDone],
  },
];

/** Explores with each budget, until one breaks the model. */
export async function exploreAll(
  { model }: Case,
  budgets: readonly Budget[],
  mutants: readonly Mutant[] = [],
): Promise<Exploration> {
  const edits = mutants.flatMap((mutant) => mutant.edits);
  let [states, ends] = [0, 0];
  for (const budget of budgets) {
    const found = await explore(await model(budget, edits));
    states += found.states;
    ends += found.ends;
    if (found.violation) return { ...found, states, ends };
  }
  return { states, ends };
}

/** The violation and the shortest way to it, one step per line. */
export function told({ violation }: Exploration): string {
  return violation ? [violation.what, ...violation.trace].join('\n  ') : 'nothing is wrong';
}

/** For the title of a test. */
export const rowsOf = (planted: readonly Planted[]) =>
  planted.map(({ mutants, what }) => [mutants.map(({ name }) => name).join(' with '), mutants, what] as const);
