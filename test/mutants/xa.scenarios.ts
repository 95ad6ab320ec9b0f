import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, type Prepared, preparedOf } from '../xa/branches-and-decisions.js';
import { endAll, FORMAT_ID, finish, orphan, prepare } from '../xa/branches-by-hand.js';
import { effectsOf, everywhere, LittleXa, libraryOf, prepareTables } from '../xa/little-xa.js';
import { heldShelf, isLocked } from '../xa/shelf-locks.js';
import { buy } from '../xa/xa-purchase.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';
import {
  claimAndScanOff,
  claimOff,
  commitUntraced,
  commitUnwitnessed,
  decidedEarly,
  logOff,
  missStands,
  notaIsDone,
  pooledConnection,
  preparedTogether,
  scanOff,
  sentBefore,
  swallowed,
} from './xa.mutants.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
/** A play has one call to reach its point, so it gets enough time on a busy machine. Orphans carry a short time of their own. */
const xa = { ...SHORT_TIMES.xa, timeoutMs: 10_000, attemptsMax: 40 };
const options = { ...SHORT_TIMES, xa };

async function openedShop({ shop, sandbox, keep }: Stage, failpoints?: string): Promise<AppProcess> {
  // The audits of all other sandboxes on these servers would find the branches that a mutant leaves prepared.
  keep({ close: () => endAll(sandbox) });
  const [[order]] = await Promise.all([
    shop.start(['order'], { options, ...(failpoints ? { failpoints } : {}) }),
    shop.start(['payment', 'inventory'], { options }),
  ]);
  await Promise.all([shop.account('alice', 100_000), shop.stock('book', 100)]);
  return order!;
}

async function diesAfterItsDecision(stage: Stage): Promise<AppProcess> {
  const dying = await openedShop(stage, 'xa.decided=crash');
  await buy(dying.url, 'dies', BOOK).catch(() => {}); // the answer dies with the process
  await dying.untilExited();
  return dying;
}

async function decidedIsCarriedOut(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  await diesAfterItsDecision(stage);
  await shop.start(['order'], { options });
  await until('nothing is prepared any more', async () => (await preparedOf(sandbox)).length === 0);
  return async () => {
    const orders = await sql<{ order_id: string }>(sandbox, 'order', 'SELECT order_id FROM orders');
    const ids = orders.map(({ order_id }) => order_id);
    const paid = await sql<{ order_id: string }>(sandbox, 'payment', 'SELECT order_id FROM payment');
    const taken = await sql<{ order_id: string }>(sandbox, 'inventory', 'SELECT order_id FROM stock_take');
    expect(
      { paid: paid.map(({ order_id }) => order_id), taken: taken.map(({ order_id }) => order_id) },
      'effects of a decided purchase in the three databases',
    ).toEqual({ paid: ids, taken: ids });
    expect(ids).toHaveLength(1);
  };
}

async function rolledBackByHand(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  await diesAfterItsDecision(stage);
  const { gtrid } = (await preparedOf(sandbox)).find(({ app }) => app === 'payment')!;
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
  await shop.start(['order'], { options });
  const state = await until('the decision is over, one way or the other', async () => {
    const [row] = await decisions(sandbox);
    return row && row.state !== 'COMMITTING' && row.state;
  });
  return async () => {
    expect(state, 'state of a decision to commit whose branch is gone').toBe('PARKED');
    const { items } = (await shop.get('order', '/dtx/alerts')).body as { items: Array<{ lastError: string }> };
    expect(items).toMatchObject([{ scheme: 'xa', lastError: expect.stringContaining('heuristic') }]);
  };
}

async function lateBranch(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  await openedShop(stage);
  const { id, gtrid } = await orphan(sandbox);
  await until('the orphan is rolled back', async () =>
    (await decisions(sandbox)).some((row) => row.id === id && row.state === 'DONE'),
  ).catch(() => {}); // its mutant cannot prove the rollback, and retries
  return async () => {
    const late = prepare(sandbox, 'inventory', { gtrid, formatId: FORMAT_ID }).then(
      () => 'prepared',
      (error) => error.code,
    );
    expect(await late, 'a branch that is prepared after its rollback').toBe('ER_DUP_ENTRY');
  };
}

async function orphanIsEnded(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  await openedShop(stage);
  await orphan(sandbox);
  let left: Prepared[] = [];
  const look = async () => {
    left = await preparedOf(sandbox);
    return left.length === 0;
  };
  await until('nothing is prepared', look, { withinMs: 10_000 }).catch(() => {});
  return async () => {
    expect(left, 'branches that no instance will ever end').toEqual([]);
  };
}

async function afterALostAnswer(stage: Stage): Promise<Claim> {
  const order = await openedShop(stage, 'xa.prepared-first=1*lost');
  await Promise.all([stage.shop.account('bob', 1_000_000), stage.shop.stock('phone', 100)]);
  const first = await until('one was rolled back', async () => {
    const answer = await buy(order.url, undefined, BOOK);
    return order.hits().length > 0 && answer;
  });
  if (first.status !== 503) throw new Error(`expected 503, got ${first.status}`);
  // Of other rows, since the branch whose answer was lost is prepared and keeps its locks.
  const next = await Promise.all(
    [1, 2].map(() => buy(order.url, undefined, { ...BOOK, buyerId: 'bob', sku: 'phone' })),
  );
  return async () => {
    expect(
      next.map(({ status }) => status),
      'the purchase after one whose answer was lost',
    ).toEqual([201, 201]);
  };
}

async function little({ sandbox, root, keep }: Stage) {
  const library = libraryOf(root);
  await prepareTables(sandbox, library);
  const app = keep(await LittleXa.start({ sandbox, library, xa: { timeoutMs: 10_000 } }));
  return { app, library };
}

const CHANGE = 'UPDATE shelf SET n = n + 1 WHERE id = ?';

async function sendsBehindAChange(stage: Stage): Promise<Claim> {
  const { app, library } = await little(stage);
  let isHeld = false;
  await app.run('passes', async ({ payment, inventory }) => {
    await library.changesOneRow(payment!, CHANGE, [1]);
    await inventory!.query('DO 1');
    isHeld = await isLocked(stage.sandbox, 'payment', 1);
  });
  return async () => {
    expect(isHeld, 'the first lock: else a lock that comes before its turn').toBe(true);
  };
}

async function changesInTwo(stage: Stage): Promise<Claim> {
  const { app, library } = await little(stage);
  const held = await heldShelf(stage.sandbox, 'payment', 1);
  const run = app.run('two', async ({ payment, inventory }) => {
    await library.changesOneRow(payment!, CHANGE, [1]);
    await library.changesOneRow(inventory!, CHANGE, [1]);
  });
  await held.untilWaitedFor();
  const isEarly = await until('the second lock', () => isLocked(stage.sandbox, 'inventory', 1), { withinMs: 500 }).then(
    () => true,
    () => false,
  );
  await held.end();
  await run;
  return async () => {
    expect(isEarly, 'a lock that comes before its turn').toBe(false);
  };
}

async function soldOut(stage: Stage): Promise<Claim> {
  const { app, library } = await little(stage);
  const seen: boolean[] = [];
  const run = app.run('sold-out', async ({ payment }) => {
    seen.push(await library.changesOneRow(payment!, CHANGE, [99]));
  });
  await run.catch(() => {});
  return async () => {
    expect(seen, 'what the work has seen').toEqual([true, false]);
  };
}

async function swallowsAnError(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const { app } = await little(stage);
  const run = app.run('half', async (managers) => {
    await everywhere('half')(managers);
    await managers.payment!.query('INSERT INTO effect (gid, n) VALUES (?, 2)', ['half']).catch(() => {});
  });
  await run.catch(() => {});
  return async () =>
    expect(await effectsOf(sandbox, 'half'), 'effects of a transaction in which one statement has failed').toEqual([]);
}

export const xaScenarios: Scenario[] = [
  {
    promise: 'a decision is carried out in every database after a crash',
    mutants: [logOff, decidedEarly],
    play: decidedIsCarriedOut,
  },
  {
    promise: 'a branch that was resolved heuristically against the decision raises an alert and never counts as done',
    mutants: [notaIsDone],
    pair: [commitUntraced, commitUnwitnessed],
    play: rolledBackByHand,
  },
  { promise: 'a branch that was rolled back cannot be prepared later', mutants: [claimOff], play: lateBranch },
  {
    promise: 'a branch that a dead process has prepared is rolled back',
    mutants: [scanOff, claimAndScanOff],
    play: orphanIsEnded,
  },
  {
    promise: 'a connection with an open branch is never used again',
    mutants: [pooledConnection],
    play: afterALostAnswer,
  },
  { promise: 'one failed statement rolls the whole transaction back', mutants: [swallowed], play: swallowsAnError },
  {
    promise: 'a statement is sent behind those of the work that wait in other databases',
    mutants: [sentBefore],
    play: sendsBehindAChange,
  },
  {
    promise: 'changes that wait lock their rows in the order of the work, over all databases',
    mutants: [preparedTogether],
    play: changesInTwo,
  },
  { promise: 'work behind a change that has missed runs again and sees it', mutants: [missStands], play: soldOut },
];
