import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { expect } from 'vitest';
import { z } from 'zod';
import type { TccCalls } from '../../libs/dtx/src/index.js';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { sql } from '../fixtures/sandbox.js';
import { call } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { arrivals, play, recorders } from '../tcc/barrier-model.js';
import { versionBefore } from '../tcc/build-of-version-before.js';
import { contradictions, racers } from '../tcc/deadline-race.js';
import { EFFECTS, write } from '../tcc/effect-table.js';
import { type Library, LittleApp, libraryOf, participantOf } from '../tcc/little-app.js';
import { tryWithLostConnection } from '../tcc/lost-connection-during-try.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';
import {
  anyState,
  anyTime,
  appClock,
  barrierApart,
  barrierOff,
  branchesLate,
  cancelUnrecorded,
  casOff,
  checkThenInsert,
  confirmUndecided,
  confirmUntried,
  directIgnored,
  gidOnly,
  lateTryPasses,
  neverClosed,
  placeOff,
  triedOnce,
} from './tcc.mutants.js';

const SEED = 4;
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };

/** All mutants get the same arrivals. The calls of a wave race, so the first wave that shows a mutant finds it. */
async function anyOrder({ sandbox, root, keep }: Stage): Promise<Claim> {
  await sql(sandbox, 'payment', EFFECTS);
  const library = libraryOf(root);
  const app = await LittleApp.start({ sandbox, library, providers: recorders(library) });
  keep(app);
  return async () => {
    for (const given of fc.sample(arrivals, { numRuns: 150, seed: SEED })) {
      expect(await play(app, given), 'calls that arrive in any order differ from the model').toBeNull();
    }
  };
}

/** The same, while an instance of the version before takes every other call. */
async function bothVersions({ sandbox, root, keep }: Stage): Promise<Claim> {
  await sql(sandbox, 'payment', EFFECTS);
  const libraries = [libraryOf(root), versionBefore(sandbox.name)];
  const start = (library: Library) => LittleApp.start({ sandbox, library, providers: recorders(library) });
  const [app] = [keep(await start(libraries[0]!)), keep(await start(libraries[1]!))];
  const caller = keep(await LittleApp.start({ sandbox, library: libraries[0]!, app: 'order' }));
  return async () => {
    for (const given of fc.sample(arrivals, { numRuns: 150, seed: SEED })) {
      const played = play(app, { ...given, isMixed: true }, (branch, about) => {
        return caller.calls.call(branch, { ...about, incarnation: 'a1' }, 20_000);
      });
      expect(await played, 'calls that arrive in any order differ from the model').toBeNull();
    }
  };
}

async function connectionLost({ sandbox, root, keep }: Stage): Promise<Claim> {
  const { outcome } = await tryWithLostConnection({ sandbox, library: libraryOf(root) }, keep);
  return async () => expect(outcome.status, 'outcome after a connection was lost during Try').toBe('CONFIRMED');
}

/** Two initiators, one gid, one participant. */
async function oneGid({ sandbox, root, keep }: Stage): Promise<Claim> {
  const library = libraryOf(root);
  await sql(sandbox, 'inventory', EFFECTS);
  const contract = library.decorators.defineParticipant({ name: 'inventory.pick', version: 1, args: z.object({}) });
  const pick = participantOf(library, contract, {
    try: (tx, _, { gid }) => write(tx, gid, 'try'),
    confirm: (tx, _, { gid }) => write(tx, gid, 'confirm'),
  });
  const [order, payment] = await Promise.all([
    LittleApp.start({ sandbox, library, app: 'order' }),
    LittleApp.start({ sandbox, library, app: 'payment' }),
    LittleApp.start({ sandbox, library, app: 'inventory', providers: [pick] }).then(keep),
  ]);
  for (const app of [keep(order), keep(payment)]) await app.tcc.run({ gid: 'one' }, (t) => t.call(contract, {}));
  return async () => {
    const rows = await sql<{ phase: string }>(sandbox, 'inventory', 'SELECT phase FROM effect ORDER BY n');
    const effects = rows.map(({ phase }) => phase);
    expect(effects, 'effects of two transactions of one gid').toEqual(['try', 'confirm', 'try', 'confirm']);
  };
}

/** A call that is made while the branches are tried. */
async function lateCall({ sandbox, root, keep }: Stage): Promise<Claim> {
  const library = libraryOf(root);
  const name = (of: string) =>
    library.decorators.defineParticipant({ name: `payment.${of}`, version: 1, args: z.object({}) });
  const [money, goods] = [name('money'), name('goods')];
  let late: TccCalls | undefined;
  const joins = () => {
    try {
      late!.call(goods, {});
    } catch {} // a caller may ignore the refusal
  };
  const providers = [participantOf(library, money, { try: joins }), participantOf(library, goods, {})];
  const app = keep(await LittleApp.start({ sandbox, library, providers }));
  const outcome = await app.tcc.run({}, (t) => {
    late = t;
    t.call(money, {});
  });
  return async () => expect(outcome.status, 'a transaction that lacks a branch').toBe('CANCELLED');
}

const deadlineRace =
  (when: 'before the scan' | 'after the scan') =>
  async ({ sandbox, root, keep }: Stage): Promise<Claim> => {
    await sql(sandbox, 'payment', EFFECTS);
    const race = await racers(sandbox, libraryOf(root), when);
    for (const app of race.apps) keep(app);
    return async () => {
      const { told, wouldConfirm } = await race.run(20);
      expect(wouldConfirm, 'callers with something to confirm').toBeGreaterThan(10);
      expect(await contradictions(sandbox, told), 'answers to callers against outcomes').toEqual([]);
    };
  };

function checkOut(url: string, key: string) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  return call(`${url}/checkouts`, { method: 'POST', headers, body: JSON.stringify(BOOK) });
}

async function diesBeforeItsDecision({ shop, sandbox }: Stage): Promise<Claim> {
  const options = SHORT_TIMES;
  const [[dying]] = await Promise.all([
    shop.start(['payment'], { options, failpoints: 'tcc.tried=crash' }),
    shop.start(['order', 'inventory'], { options }),
  ]);
  await Promise.all([shop.account('alice', 10_000), shop.stock('book', 10)]);
  // On a busy machine a checkout may time out before every Try has answered.
  let checkouts = 0;
  const checkOutAndLook = async () => {
    await checkOut(dying!.url, `dies-${checkouts++}`).catch(() => {});
    return dying!.exited;
  };
  await until('payment dies after the Tries of a checkout', checkOutAndLook, { withinMs: 60_000 });
  await shop.start(['payment'], { options });
  await until('every transaction is over', async () => {
    const rows = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_tcc');
    return rows.length > 0 && rows.every(({ state }) => state === 'CANCELLED');
  });
  return async () => {
    const [account] = await sql(sandbox, 'payment', 'SELECT frozen FROM account');
    expect(Number(account!.frozen), 'money that is still frozen').toBe(0);
  };
}

const PRELOAD = pathToFileURL(join(import.meta.dirname, '..', 'fixtures', 'wrong-clock.mjs')).href;

async function slowClock({ shop }: Stage): Promise<Claim> {
  const env = { NODE_OPTIONS: `--import=${PRELOAD}`, TEST_CLOCK_SHIFT_MS: '-300000' };
  const [[payment]] = await Promise.all([shop.start(['payment'], { env }), shop.start(['order', 'inventory'])]);
  await Promise.all([shop.account('alice', 10_000), shop.stock('book', 10)]);
  return async () => {
    const { status, body } = await checkOut(payment!.url, 'slow');
    expect([status, body.reason], 'a checkout by an app whose clock is slow').toEqual([201, undefined]);
  };
}

export const tccScenarios: Scenario[] = [
  {
    promise: 'calls of a branch arrive in any order and any number, and each has its effect once or not at all',
    mutants: [
      barrierOff,
      barrierApart,
      checkThenInsert,
      directIgnored,
      cancelUnrecorded,
      confirmUntried,
      lateTryPasses,
    ],
    play: anyOrder,
  },
  {
    promise: 'two versions of a participant share the calls of one transaction',
    mutants: [placeOff],
    play: bothVersions,
  },
  { promise: 'two transactions of one gid have effects of their own', mutants: [gidOnly], play: oneGid },
  { promise: 'a transaction is closed before it begins', mutants: [neverClosed], play: lateCall },
  {
    promise: 'the deadline and the decision exclude one another',
    mutants: [casOff],
    pair: [anyState, anyTime],
    play: deadlineRace('after the scan'),
  },
  {
    promise: 'a decision after the deadline confirms nothing, even before the scan',
    mutants: [confirmUndecided],
    play: deadlineRace('before the scan'),
  },
  {
    promise: 'a reservation made before a crash is given back by every participant',
    mutants: [branchesLate],
    play: diesBeforeItsDecision,
  },
  {
    promise: 'a transaction goes on after its initiator has lost the connection to RabbitMQ',
    mutants: [triedOnce],
    play: connectionLost,
  },
  { promise: 'an app whose clock is wrong still confirms in time', mutants: [appClock], play: slowClock },
];
