// From the commit of an order to the begin of its handler, at a third of the top load. The outbox row has a time shortly before the
// commit, the inbox row one at the begin of the handler's transaction: the figure is a little too high, never too low.
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Asked, ask, buyerOf, skuOf } from '../load.js';
import { measure, untilAtRest, untilSettled, warmUp } from '../measure.js';
import type { Finding } from '../report.js';
import type { Shop } from '../stage.js';
import { percentiles } from '../summary.js';
import type { PartOptions } from './part.js';

const TOP = { variant: 'local-message', concurrency: 32, skus: 'many', notify: false, purchases: 400 } as const;
const SHARE = 1 / 3;

export async function latency({ stage, progress, quick }: PartOptions): Promise<Finding[]> {
  const shop = await stage.open('shop');
  try {
    progress.step('warming up');
    await warmUp({ ...TOP, purchases: quick ? 800 : 5_000 }, shop);
    progress.step('the top load, to know a third of it');
    const { settledPerSecond: top } = await measure(TOP, shop, stage);
    const perSecond = top * SHARE;
    progress.step(`${perSecond.toFixed(0)} purchases per second`);
    const asked = await paced(shop, perSecond, quick ? 5 : 20);
    await untilSettled(TOP, asked, shop);
    await untilAtRest(TOP, shop);
    const waits = percentiles(
      await waitsOf(
        shop,
        asked.map(({ orderId }) => orderId),
      ),
    );
    return [
      { what: 'load', value: perSecond, unit: 'purchases/s' },
      { what: 'commit to handler, p50', value: waits.p50, unit: 'ms' },
      { what: 'commit to handler, p99', value: waits.p99, unit: 'ms' },
    ];
  } finally {
    await shop.stop();
  }
}

/** An open loop: a slow answer does not delay the next call. */
async function paced({ urls }: Shop, perSecond: number, seconds: number): Promise<Asked[]> {
  const agent = new Agent({ keepAlive: true });
  const calls: Array<Promise<Asked>> = [];
  const since = performance.now();
  try {
    for (let n = 0; n < perSecond * seconds; n++) {
      await sleep(Math.max(0, since + (n * 1_000) / perSecond - performance.now()));
      const body = JSON.stringify({ buyerId: buyerOf(n), sku: skuOf(n * 7), quantity: 1 });
      const call = ask(agent, `${urls.order}/orders`, body);
      call.catch(() => {}); // all are awaited below
      calls.push(call);
    }
    return await Promise.all(calls);
  } finally {
    agent.destroy();
  }
}

async function waitsOf({ databases }: Shop, orderIds: readonly string[]): Promise<number[]> {
  type Sent = { id: string; created_at: Date };
  const sql = `SELECT id, created_at FROM dtx_outbox WHERE gid IN (?) AND contract = 'order.placed'`;
  const sent = await databases.query<Sent>('order', sql, [orderIds]);
  type Handled = { message_id: string; created_at: Date };
  const handled = await databases.query<Handled>(
    'inventory',
    'SELECT message_id, created_at FROM dtx_inbox WHERE message_id IN (?)',
    [sent.map(({ id }) => id)],
  );
  const begun = new Map(handled.map(({ message_id: id, created_at: at }) => [id, at.getTime()]));
  return sent.map(({ id, created_at: at }) => begun.get(id)! - at.getTime());
}
