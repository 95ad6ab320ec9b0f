import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/run-case.js';
import { call } from '../support/stack.js';
import { until } from '../support/until.js';
import { sql } from '../support/world.js';
import { arrivals, EFFECTS, play, recorders } from '../tcc/arrivals.js';
import { contradictions, racers } from '../tcc/deadline-race.js';
import { LittleApp, libraryOf } from '../tcc/little-app.js';
import type { Claim, Scenario, Stage } from './stage.js';
import {
  appClock,
  barrierApart,
  barrierOff,
  branchesLate,
  cancelUnrecorded,
  casOff,
  checkThenInsert,
  confirmUntried,
} from './tcc.mutants.js';

const SEED = 4;
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };

/** The same arrivals for everybody; those of one wave race, so a mutant is found by the first that shows it. */
async function anyOrder({ world, root, keep }: Stage): Promise<Claim> {
  await sql(world, 'payment', EFFECTS);
  const library = libraryOf(root);
  const app = await LittleApp.start({ world, library, providers: recorders(library) });
  keep(app);
  return async () => {
    for (const given of fc.sample(arrivals, { numRuns: 150, seed: SEED })) {
      expect(await play(app, given), 'what calls that arrive in any order came to').toBeNull();
    }
  };
}

async function deadlineRace({ world, root, keep }: Stage): Promise<Claim> {
  await sql(world, 'payment', EFFECTS);
  const race = await racers(world, libraryOf(root), 'after the scan');
  for (const app of race.apps) keep(app);
  return async () => {
    const { told, wouldConfirm } = await race.run(20);
    expect(wouldConfirm, 'callers with something to confirm').toBeGreaterThan(10);
    expect(await contradictions(world, told), 'what callers were told against what happened').toEqual([]);
  };
}

function checkOut(url: string, key: string) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  return call(`${url}/checkouts`, { method: 'POST', headers, body: JSON.stringify(BOOK) });
}

async function diesBeforeItsDecision({ shop, world }: Stage): Promise<Claim> {
  const options = SHORT_TIMES;
  const [[dying]] = await Promise.all([
    shop.start(['payment'], { options, failpoints: 'tcc.tried=crash' }),
    shop.start(['order', 'inventory'], { options }),
  ]);
  await Promise.all([shop.account('alice', 10_000), shop.stock('book', 10)]);
  await checkOut(dying!.url, 'dies').catch(() => {});
  await dying!.untilExited();
  await shop.start(['payment'], { options });
  await until('the transaction is over', async () => {
    const rows = await sql<{ state: string }>(world, 'payment', 'SELECT state FROM dtx_tcc');
    return rows[0]?.state === 'CANCELLED';
  });
  return async () => {
    const [account] = await sql(world, 'payment', 'SELECT frozen FROM account');
    expect(Number(account!.frozen), 'money that is still frozen').toBe(0);
  };
}

const PRELOAD = pathToFileURL(join(import.meta.dirname, '..', 'support', 'shifted-clock.mjs')).href;

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
    promise: 'calls of a branch may arrive in any order, as often as they like: each has its effect once, or none',
    mutants: [barrierOff, barrierApart, checkThenInsert, cancelUnrecorded, confirmUntried],
    play: anyOrder,
  },
  { promise: 'the deadline and the decision exclude one another', mutants: [casOff], play: deadlineRace },
  {
    promise: 'what was reserved before a crash is given back, whoever was asked to reserve it',
    mutants: [branchesLate],
    play: diesBeforeItsDecision,
  },
  { promise: 'an app whose clock is wrong decides as any other', mutants: [appClock], play: slowClock },
];
