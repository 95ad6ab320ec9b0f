import { afterAll, beforeAll, expect, it } from 'vitest';
import { queryIn } from '../fixtures/query-packet.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { purchaseOf } from './purchase-saga.js';
import { effect, library, type Methods, SagaApp, saga } from './saga-apps.js';
import { useSagaDatabases } from './saga-databases.js';

const { place, hold, pay, confirm, purchase } = purchaseOf({ saga });
const databases = useSagaDatabases('saga_packets');
const apps: SagaApp[] = [];
let proxy: TcpProxy;
let order: SagaApp;
/** An hour: no scan and no purge sends a packet. */
const CALM = { scanIntervalMs: 3_600_000, purgeIntervalMs: 3_600_000, leaseMs: 60_000 };
const placed: Methods = {
  do: (tx, _, { gid }) => library.deferStatement(tx, 'INSERT INTO effect (gid, what) VALUES (?, ?)', [gid, 'placed']),
};

beforeAll(async () => {
  const { sandbox } = databases;
  proxy = await TcpProxy.start(sandbox.databases.order);
  const behind = { ...sandbox, databases: { ...sandbox.databases, order: proxy.url } };
  const held: Methods = {
    do: async (tx, _, { gid }) => {
      await effect(tx, gid, 'hold');
      return { lot: 'x' };
    },
  };
  apps.push(await SagaApp.start(sandbox, { app: 'inventory', steps: [[hold, held]] }));
  apps.push(await SagaApp.start(sandbox, { app: 'payment', steps: [[pay, { undo: null }]] }));
  order = await SagaApp.start(behind, {
    sagas: [purchase],
    steps: [
      [place, placed],
      [confirm, { undo: null }],
    ],
    core: CALM,
    source: { extra: { multipleStatements: true } },
  });
  apps.push(order);
  // The connections of the next saga are open and pinned.
  await endOf('warm');
});

afterAll(async () => {
  await Promise.all(apps.map((app) => app.close()));
  await proxy?.close();
});

async function endOf(gid: string): Promise<unknown> {
  await order.begin(purchase, { sku: 'book' }, gid);
  return order.sagas.outcome(gid, 60_000);
}

/** The texts of the queries about sagas, one per packet: 3 bytes of length, number 0, command 3. */
async function packetsOf(run: () => Promise<unknown>): Promise<string[]> {
  const texts: string[] = [];
  const stop = proxy.onBytes('to-server', (chunk) => {
    const text = queryIn(chunk);
    if (text !== null) texts.push(text);
  });
  await run().finally(stop);
  return texts.filter((text) => /dtx_saga|effect|\bCOMMIT\b/.test(text));
}

it('a saga costs five packets at its database: start, mark of the pivot, and three for the last step with the final mark', async () => {
  let outcome: unknown;
  const packets = await packetsOf(async () => {
    outcome = await endOf('counted');
  });
  expect(packets).toEqual([
    expect.stringMatching(
      /^START TRANSACTION; SAVEPOINT dtx_begun; INSERT INTO \S*dtx_saga_barrier .*; INSERT INTO effect .*; INSERT INTO \S*dtx_saga .*; RELEASE SAVEPOINT dtx_begun; COMMIT$/s,
    ),
    expect.stringMatching(/^UPDATE dtx_saga SET state = 'PIVOT'/),
    expect.stringMatching(
      /^START TRANSACTION; SAVEPOINT dtx_begun; INSERT INTO dtx_saga_barrier .*; UPDATE dtx_saga m /s,
    ),
    expect.stringMatching(/^INSERT INTO effect /),
    expect.stringMatching(/^RELEASE SAVEPOINT dtx_begun; COMMIT$/),
  ]);
  expect(outcome).toEqual(await order.sagas.outcome('counted'));
  expect(outcome).toMatchObject({ status: 'COMPLETED', decidedAt: expect.any(Date) });
});

it('a start whose gid is known commits nothing, although its statements travel with COMMIT', async () => {
  const again = order.begin(purchase, { sku: 'book' }, 'counted');
  await expect(again).rejects.toThrow('saga counted exists already; use another gid');
  expect(await databases.reads.effects('order', 'counted')).toEqual(['placed', 'order.confirm']);
});
