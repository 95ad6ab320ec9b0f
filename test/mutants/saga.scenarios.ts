import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { effect, librariesOf } from '../saga/saga-apps.js';
import { createEffects } from '../saga/saga-databases.js';
import { callsOf, type Script, stageOn } from '../saga/stage.js';
import {
  answeredOnly,
  cancelledAtPivot,
  doUnrecorded,
  markUnfenced,
  pivotMarkedBlindly,
  refusalForgotten,
  undoAgain,
  undoneInOrder,
  undoUnrecorded,
  unfenced,
} from './saga.mutants.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

type SagaStage = ReturnType<typeof stageOn>;
type Phase = 'do' | 'undo';

const CALL_MS = 20_000;
const LENGTH_MAX = 4;
const INCARNATION = 'a1'.repeat(8);
const fail = () => {
  throw new Error('no answer');
};

async function open({ sandbox, root, keep }: Stage): Promise<SagaStage> {
  await createEffects(sandbox);
  const stage = keep(stageOn(() => sandbox, librariesOf(root)));
  await stage.start();
  return stage;
}

/** Calls the step that takes the goods, without a saga. */
function callerOf(stage: SagaStage) {
  const calls = callsOf(stage.order);
  const { hold, purchase } = stage.contracts;
  return (gid: string, phase: Phase) => {
    const about = {
      gid,
      incarnation: INCARNATION,
      saga: purchase.name,
      since: new Date().toISOString(),
      phase,
    } as const;
    const args = phase === 'do' ? { sku: 'book' } : undefined;
    return calls.call(hold as never, { ...about, kind: 'compensable', args }, CALL_MS);
  };
}

/** Every order of up to four calls. */
function orders(length = LENGTH_MAX): Phase[][] {
  if (length === 0) return [[]];
  const shorter = orders(length - 1);
  return [
    [],
    ...shorter.flatMap((one): Phase[][] => [
      ['do', ...one],
      ['undo', ...one],
    ]),
  ].filter((one, index, all) => all.findIndex((other) => other.join() === one.join()) === index);
}

/** A Do has its effect if nothing was before it, and the first Undo after it takes that back. */
function wantedOf(phases: readonly Phase[], gid: string): string[] {
  if (phases[0] !== 'do') return [];
  return phases.includes('undo') ? ['hold', `put back lot of ${gid}`] : ['hold'];
}

/** Each call is sent twice at once. */
async function anyOrder(scene: Stage): Promise<Claim> {
  const stage = await open(scene);
  const call = callerOf(stage);
  return async () => {
    for (const phases of orders()) {
      const gid = `arrives-${phases.join('-')}`;
      for (const phase of phases) await Promise.all([call(gid, phase), call(gid, phase)]);
      const effects = await stage.effects('inventory', gid);
      expect(effects, `calls of a step that arrive in any order have other effects: ${phases}`).toEqual(
        wantedOf(phases, gid),
      );
    }
  };
}

/** A pivot that was refused arrives again, when it could succeed. */
async function refusedOnce(scene: Stage): Promise<Claim> {
  const stage = await open(scene);
  const { Rejected } = stage.order.libraries.library;
  let isPoor = true;
  const gid = await stage.begin({
    pay: {
      do: async (tx, _, { gid }) => {
        if (isPoor) throw new Rejected('INSUFFICIENT_FUNDS');
        await effect(tx, gid, 'paid');
      },
    },
  });
  await stage.untilIs(gid, 'COMPENSATED');
  isPoor = false;
  await stage.callLate(gid, 'pay');
  return async () => {
    expect(await stage.effects('payment', gid), 'effects of a Do that was refused').toEqual([]);
  };
}

/** The way that the purchase ended, by its effects. */
async function endOf(stage: SagaStage, gid: string): Promise<'paid' | 'put back' | object> {
  await stage.untilOver(gid);
  const [paid, goods] = await Promise.all([stage.effects('payment', gid), stage.effects('inventory', gid)]);
  const isPutBack = goods.length % 2 === 0;
  return paid.length === 1 && !isPutBack ? 'paid' : paid.length === 0 && isPutBack ? 'put back' : { paid, goods };
}

const ends = (script: (stage: SagaStage) => Script, wanted: 'paid' | 'put back') => async (scene: Stage) => {
  const stage = await open(scene);
  const gid = await stage.begin(script(stage));
  const claim: Claim = async () => {
    expect(await endOf(stage, gid), 'effects of a purchase that ended').toBe(wanted);
  };
  return claim;
};

const pivotUnanswered = ends(
  (stage) => ({
    pay: {
      done: async (_, { gid }) => {
        await stage.passDeadline(gid);
        fail();
      },
    },
  }),
  'paid',
);

const cancelAtPivot = ends(
  (stage) => ({
    pay: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'paid');
      },
    },
  }),
  'paid',
);

const cancelBeforePivot = ends(
  (stage) => ({
    hold: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
    },
  }),
  'put back',
);

/** A saga without a pivot, whose process comes back from the last step after a cancel. */
async function cancelAtLastStep(scene: Stage): Promise<Claim> {
  const stage = await open(scene);
  const isOver = async (gid: string) => (await stage.rowOf(gid))?.state === 'COMPENSATED';
  let isFirst = true;
  const gid = await stage.book({
    hold: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
      undo: async (tx, _, { gid }) => {
        if (isFirst) {
          isFirst = false;
          await until('another process ends it', () => isOver(gid), { withinMs: 1_000 }).catch(() => {});
          fail();
        }
        await effect(tx, gid, 'put back');
      },
    },
  });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    const effects = await stage.effects('inventory', gid);
    expect(effects, 'effects of a booking that was cancelled at its last step').toEqual(['hold', 'put back']);
  };
}

async function withoutAnswer(scene: Stage): Promise<Claim> {
  const stage = await open(scene);
  const gid = await stage.begin({ hold: { done: fail } });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    const wanted = ['hold', `put back lot of ${gid}`];
    expect(await stage.effects('inventory', gid), 'effects of a step without an answer').toEqual(wanted);
  };
}

async function undoOrder(scene: Stage): Promise<Claim> {
  const stage = await open(scene);
  const undone: string[] = [];
  const { Rejected } = stage.order.libraries.library;
  const gid = await stage.begin({
    place: { undo: () => void undone.push('place') },
    hold: { undo: () => void undone.push('hold') },
    pay: { do: () => Promise.reject(new Rejected('INSUFFICIENT_FUNDS')) },
  });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    expect(undone, 'order of the undone steps').toEqual(['hold', 'place']);
  };
}

export const sagaScenarios: Scenario[] = [
  {
    promise: 'calls of a step arrive in any order and any number, and each has its effect once or not at all',
    mutants: [doUnrecorded, undoUnrecorded, undoAgain],
    play: anyOrder,
  },
  { promise: 'a Do that was refused stays refused', mutants: [refusalForgotten], play: refusedOnce },
  { promise: 'a pivot that has committed unseen is found', mutants: [unfenced], play: pivotUnanswered },
  { promise: 'a cancel does not turn a saga at its pivot', mutants: [cancelledAtPivot], play: cancelAtPivot },
  { promise: 'the pivot of a cancelled saga never runs', mutants: [pivotMarkedBlindly], play: cancelBeforePivot },
  { promise: 'a saga is not over while one step is open', mutants: [markUnfenced], play: cancelAtLastStep },
  { promise: 'every step that may have run is undone', mutants: [answeredOnly], play: withoutAnswer },
  { promise: 'steps are undone in reverse order', mutants: [undoneInOrder], play: undoOrder },
];
