import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** The statement ends its packet, whatever header the server has agreed on: `... READ COMMITTED` does not match. */
const isCommitOf = (chunk: Buffer) => chunk.subarray(-6).equals(Buffer.from('COMMIT'));
const SKU = 'item-0042';

let sandbox: Sandbox;
let shop: Stack;
const networks = {} as Record<'order' | 'inventory', TcpProxy>;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_network');
  shop = new Stack(sandbox);
  await shop.start(['payment']);
  for (const app of ['order', 'inventory'] as const) {
    networks[app] = await TcpProxy.start(sandbox.databases[app]);
    await shop.start([app], { env: { DTX_DATABASE_URL: networks[app].url } });
  }
  await shop.account('alice', 1_000_000);
  await shop.stock(SKU, 1_000);
});

afterAll(async () => {
  await shop?.stop();
  for (const network of Object.values(networks)) await network.close();
});

beforeEach(async () => {
  for (const app of ['order', 'inventory'] as const) await shop.untilReady(shop.of(app));
});

type Fault = 'COMMIT not delivered' | 'COMMIT delivered, its answer lost';
const FAULTS: Fault[] = ['COMMIT not delivered', 'COMMIT delivered, its answer lost'];

interface Cut {
  /** Transactions seen that match, the first of which met the fault. */
  transactions: number;
  /** Resolves once the fault has happened: the network is down from then on, until it is healed. */
  happened: Promise<unknown>;
  end(): void;
}

/** Breaks the network in the COMMIT of the first transaction with a statement that holds all these words. */
function cutInCommit(network: TcpProxy, fault: Fault, words: readonly string[]): Cut {
  const matching = new Set<number>();
  const cut = { transactions: 0, isDown: false };
  const swallowedBefore = network.counts.swallowed;
  const endSends = network.onBytes('to-server', (chunk, connection) => {
    const isCommit = isCommitOf(chunk);
    if (words.every((word) => chunk.includes(word)) && !matching.has(connection)) {
      matching.add(connection);
      cut.transactions++;
    }
    // The packet of the words may be that of COMMIT.
    if (isCommit && matching.delete(connection) && cut.transactions === 1) {
      cut.isDown = true;
      if (fault === 'COMMIT not delivered') network.cut();
      else network.blackHole('to-client');
    }
  });
  const happened = until(`the network is cut: ${fault}`, () => {
    if (!cut.isDown) return false;
    if (fault === 'COMMIT not delivered') return true;
    // The server has answered the COMMIT, so it is done; only now does the app lose its connections.
    if (network.counts.swallowed === swallowedBefore) return false;
    network.cut();
    return true;
  });
  return {
    happened,
    end: endSends,
    get transactions() {
      return cut.transactions;
    },
  };
}

async function count(app: AppName, query: string, values: unknown[]): Promise<number> {
  const [row] = await sql<{ n: number }>(sandbox, app, `SELECT COUNT(*) AS n FROM ${query}`, values);
  return Number(row!.n);
}

describe.each(FAULTS)('the network is cut in a COMMIT: %s', (fault) => {
  const isDone = fault === 'COMMIT not delivered' ? 0 : 1;

  test('an order whose COMMIT is cut answers 503, and the same key finds its one purchase', async () => {
    const network = networks.order;
    const key = `cut-${isDone}`;
    const body = { buyerId: 'alice', sku: SKU, quantity: 1 };
    const cut = cutInCommit(network, fault, ['INSERT INTO', 'dtx_idempotency', Buffer.from(key).toString('hex')]);
    const first = shop.send('order', 'POST', '/orders', body, { 'idempotency-key': key });
    await cut.happened;
    const answer = await first;
    expectProblem(answer, 503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await count('order', 'dtx_idempotency WHERE idempotency_key = ?', [key])).toBe(isDone);

    const refusedBefore = network.counts.refused;
    const during = await shop.send('order', 'POST', '/orders', body, { 'idempotency-key': key });
    expectProblem(during, 503);
    expect(network.counts.refused).toBeGreaterThan(refusedBefore);
    network.heal();
    cut.end();

    const told = await until('the key is answered', async () => {
      const { status, body: purchase } = await shop.send('order', 'POST', '/orders', body, { 'idempotency-key': key });
      return status === 202 && String(purchase.orderId);
    });
    expect(await shop.settled(told)).toMatchObject({ status: 'CONFIRMED' });
    const keys = await sql(sandbox, 'order', 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [key]);
    expect(keys).toEqual([{ gid: told }]);
  });

  test('a delivery whose COMMIT is cut is repeated and has one effect', async () => {
    const network = networks.inventory;
    const quantity = 100 + isDone; // tells this purchase from all others before its id is known
    const cut = cutInCommit(network, fault, ['INSERT INTO stock_take', `'${SKU}', ${quantity},`]);
    const { orderId } = await shop.order({ buyerId: 'alice', sku: SKU, quantity });
    await cut.happened;
    const refusedBefore = network.counts.refused;
    expect(await count('inventory', `dtx_inbox WHERE gid = ? AND state = 'HANDLED'`, [orderId])).toBe(isDone);
    await until('the app finds the network down', () => network.counts.refused > refusedBefore);
    expect((await shop.get('order', `/orders/${orderId}`)).body.status).toBe('PENDING');
    network.heal();

    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    cut.end();
    // Not delivered: the whole handler runs again. Delivered: the inbox row stops it before it begins.
    expect(cut.transactions).toBe(2 - isDone);
    const takes = await sql(sandbox, 'inventory', 'SELECT state, times, quantity FROM stock_take WHERE order_id = ?', [
      orderId,
    ]);
    expect(takes).toEqual([{ state: 'TAKEN', times: 1, quantity }]);
    expect(await count('inventory', 'dtx_inbox WHERE gid = ? AND attempts > 0', [orderId])).toBe(0);
  });
});

test('every invariant holds after the tests', () => expectAuditClean(shop));
