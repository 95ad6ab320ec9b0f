import { expect, test } from 'vitest';
import { z } from 'zod';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { type AppName, sql } from '../fixtures/sandbox.js';
import { decisions, preparedOf } from './branches-and-decisions.js';
import { effectsOf, libraryOf, type Managers } from './little-xa.js';
import { oneLittleXa } from './one-little-xa.js';
import { heldShelf, isLocked } from './shelf-locks.js';

const library = libraryOf();
const { changesOneRow, deferStatement } = library;
const INSERT = 'INSERT INTO effect (gid, n) VALUES (?, 1)';
const CHANGE = 'UPDATE shelf SET n = n + 1 WHERE id = ?';
const SOLD = library.defineMessage({
  name: 'test.sold',
  version: 1,
  schema: z.object({ gid: z.string() }),
  consumers: ['order.sold'],
  replicated: true,
  gid: (sale: { gid: string }) => sale.gid,
});
const little = oneLittleXa('xa_failing', library);
const { newGid } = little;

/** A change that hits no row. Each test has its own, since one that has missed is sent at once for a second. */
const missing = (gid: string) => `UPDATE shelf SET n = n + 1 WHERE id = 99 AND '${gid}' <> ''`;

/** Waits in the database of `at`, and fails there with a duplicate key. */
async function duplicate(at: AppName, { [at]: manager }: Managers, gid: string): Promise<void> {
  await sql(little.sandbox, at, INSERT, [`${gid}-there`]);
  await deferStatement(manager!, INSERT, [`${gid}-there`]);
}

test.each(['thrown', 'swallowed'])(
  'a miss that a statement in another database finds, %s by the work, runs the work again on the same connections',
  async (how) => {
    const gid = newGid();
    const seen: boolean[] = [];
    const sessions: string[] = [];
    const result = await little.app.run(gid, async ({ payment, inventory }) => {
      const ids = await Promise.all([payment, inventory].map((one) => one!.query('SELECT CONNECTION_ID() AS id')));
      sessions.push(ids.map(([row]) => row.id).join());
      const isChanged = await changesOneRow(payment!, missing(gid));
      seen.push(isChanged);
      const next = inventory!.query(INSERT, [gid]);
      await (how === 'thrown' ? next : next.catch(() => {}));
      return isChanged;
    });
    expect([seen, result]).toEqual([[true, false], false]);
    expect(sessions[1]).toBe(sessions[0]);
    expect(await effectsOf(little.sandbox, gid)).toEqual(['inventory']);
  },
);

test('the hooks of a first run that missed are forgotten', async () => {
  const gid = newGid();
  const ran: number[] = [];
  const { hooks } = little.app.context.get(library.Database);
  let runs = 0;
  await little.app.run(gid, async ({ order, payment }) => {
    const run = ++runs;
    hooks.afterCommit(order!, async () => void ran.push(run));
    await changesOneRow(payment!, missing(gid));
  });
  expect(ran).toEqual([2]);
});

test('a statement that waited and failed is not taken for the failure of the call that has sent it', async () => {
  const gid = newGid();
  let seen: unknown;
  const run = little.app.run(gid, async (managers) => {
    await duplicate('payment', managers, gid);
    await managers.order!.query('DO 1').catch((error: unknown) => {
      seen = error;
      throw error;
    });
  });
  await expect(run).rejects.toMatchObject({ errno: 1062 });
  expect(String(seen)).toMatch(/statement not sent: an earlier one that waited in database payment has failed/);
  expect(seen).not.toHaveProperty('errno');
});

test('an idempotency key is not called busy because of a statement that waited elsewhere', async () => {
  const gid = newGid();
  const run = little.app.run(gid, async (managers) => {
    await duplicate('payment', managers, gid);
    const key = { route: 'POST /tests', key: gid, body: {}, gid };
    await little.app.context.get(library.IdempotencyKeys).claim(managers.order!, key);
  });
  await expect(run).rejects.toMatchObject({ errno: 1062 });
});

test('NULL in a statement that waits for the decision is the error of the work, and no missed deadline', async () => {
  const gid = newGid();
  const run = little.app.run(gid, async ({ order, payment }) => {
    await payment!.query(INSERT, [gid]);
    await deferStatement(order!, 'INSERT INTO effect (gid, n) VALUES (?, NULL)', [gid]);
  });
  await expect(run).rejects.toMatchObject({ errno: 1048 });
  expect(await effectsOf(little.sandbox, gid)).toEqual([]);
  expect(await decisions(little.sandbox, gid)).toEqual([]);
});

test('a branch that was prepared before another one is refused frees its locks at once', async () => {
  const gid = newGid();
  const run = little.app.run(gid, async (managers) => {
    await changesOneRow(managers.payment!, CHANGE, [1]);
    await duplicate('inventory', managers, gid);
  });
  await expect(run).rejects.toMatchObject({ errno: 1062 });
  expect(await preparedOf(little.sandbox)).toEqual([]);
  expect(await isLocked(little.sandbox, 'payment', 1)).toBe(false);
});

test('a change that begins after the end of the work is refused, and is in no database', async () => {
  const gid = newGid();
  const held = await heldShelf(little.sandbox, 'order', 1);
  let begin: () => void = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let late: Promise<unknown> = Promise.resolve();
  const run = little.app.run(gid, async ({ order, payment }) => {
    late = begun.then(() => changesOneRow(payment!, `${CHANGE} AND '${gid}' <> ''`, [2])).catch((error) => error);
    await payment!.query(INSERT, [gid]);
    await changesOneRow(order!, CHANGE, [1]);
  });
  await held.untilWaitedFor();
  const [before] = await sql<{ n: number }>(little.sandbox, 'payment', 'SELECT n FROM shelf WHERE id = 2');
  begin();
  expect(String(await late)).toMatch(/await every statement inside it/);
  await held.end();
  await run;
  expect(await sql(little.sandbox, 'payment', 'SELECT n FROM shelf WHERE id = 2')).toEqual([before]);
});

test('a change is not lost when a call that nothing awaits sends those of other databases', async () => {
  const gid = newGid();
  const seen: boolean[] = [];
  const messages = little.app.context.get(library.ConfirmedMessages);
  const held = await heldShelf(little.sandbox, 'payment', 1);
  const run = little.app.run(gid, async ({ order, payment }) => {
    await changesOneRow(payment!, CHANGE, [1]);
    seen.push(await changesOneRow(order!, missing(gid)));
    if (seen.length === 1) void messages.publish(order!, SOLD, { gid }).catch(() => {});
  });
  await held.untilWaitedFor();
  await held.end();
  await run;
  expect(seen).toEqual([true, false]);
});

test('a statement of another database waits for the answer to changes that are on their way', async () => {
  const held = await heldShelf(little.sandbox, 'payment', 1);
  const run = little.app.run(newGid(), async ({ payment, inventory }) => {
    await changesOneRow(payment!, CHANGE, [1]);
    await Promise.all([payment!.query('DO 1'), inventory!.query(CHANGE, [2])]);
  });
  await held.untilWaitedFor();
  expect(await isLocked(little.sandbox, 'inventory', 2)).toBe(false);
  await held.end();
  await run;
});

test('a message is published only after the waiting changes of all databases were sent', async () => {
  const messages = little.app.context.get(library.ConfirmedMessages);
  const sell = (gid: string, change: string) =>
    little.app.run(gid, async ({ order, inventory }) => {
      if (!(await changesOneRow(inventory!, change, [1]))) throw new Error('sold out');
      await deferStatement(order!, INSERT, [gid]);
      await messages.publish(order!, SOLD, { gid });
    });
  await sell(newGid(), CHANGE);
  expect(await messagesIn(little.sandbox, 'dtx.order.sold.v1')).toBe(1);
  const soldOut = newGid();
  await expect(sell(soldOut, `${missing(soldOut)} AND n < ?`)).rejects.toThrow('sold out');
  expect(await messagesIn(little.sandbox, 'dtx.order.sold.v1')).toBe(1);
  // The audit would wait for its consumer.
  await deleteQueue(little.sandbox, 'dtx.order.sold.v1');
});
