// A backlog of due rows: how fast one instance drains it, and what a fresh purchase meanwhile waits.
import { Agent } from 'node:http';
import { until } from '../../../cli/waits-and-progress.js';
import { ask, buyerOf, skuOf } from '../load.js';
import { addDueRows, isUndone, isUnsent } from '../outbox-rows.js';
import { usageOf } from '../process-usage.js';
import type { Finding } from '../report.js';
import { Sinks } from '../sinks.js';
import type { Shop } from '../stage.js';
import { percentiles } from '../summary.js';
import { type PartOptions, secondsUntil } from './part.js';

const BOUND_MS = 480_000;
const FRESH_BOUND_MS = 120_000;
const MIB = 2 ** 20;

export async function backlog({ stage, progress, quick, rows: asked }: PartOptions): Promise<Finding[]> {
  const rows = asked ?? (quick ? 20_000 : 200_000);
  const shop = await stage.open('shop');
  const sinks = await Sinks.start(shop.sandbox.rabbitmq);
  const watch = new MemoryWatch(shop.processes.pids[0]!);
  try {
    progress.step(`${rows} rows become due`);
    await addDueRows(shop.databases, rows, 'backlog');
    const fresh = buyMeanwhile(shop, () => isUndone(shop.databases));
    const sent = await secondsUntil('sending the backlog', async () => !(await isUnsent(shop.databases)), BOUND_MS);
    progress.step(`sent after ${sent.toFixed(1)} s`);
    const rest = await secondsUntil('the receipts of the backlog', () => isBacklogDone(shop), BOUND_MS);
    const waits = percentiles(await fresh);
    return [
      { what: `${rows} due rows to SENT`, value: rows / sent, unit: 'rows/s' },
      { what: `${rows} due rows to DONE`, value: rows / (sent + rest), unit: 'rows/s' },
      { what: 'a fresh purchase meanwhile settles, p50', value: waits.p50 / 1_000, unit: 's' },
      { what: 'a fresh purchase meanwhile settles, p99', value: waits.p99 / 1_000, unit: 's' },
      { what: 'memory of the order app before', value: watch.first / MIB, unit: 'MiB' },
      { what: 'memory of the order app, highest', value: watch.highest / MIB, unit: 'MiB' },
    ];
  } finally {
    watch.stop();
    await sinks.stop();
    await shop.stop();
  }
}

async function isBacklogDone({ databases }: Shop): Promise<boolean> {
  const sql = `SELECT 1 FROM dtx_outbox WHERE state IN ('PENDING', 'SENT') AND gid = 'bench' LIMIT 1`;
  return (await databases.query('order', sql)).length === 0;
}

/** One purchase after the other, at least one. Returns how long each took to settle, in milliseconds. */
async function buyMeanwhile({ urls, databases }: Shop, isBusy: () => Promise<boolean>): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const waits: number[] = [];
  try {
    do {
      const n = waits.length;
      const body = JSON.stringify({ buyerId: buyerOf(n), sku: skuOf(n), quantity: 1 });
      const { orderId, askedAt } = await ask(agent, `${urls.order}/orders`, body);
      const look = async () => (await databases.confirmed([orderId])).get(orderId);
      const at = await until(look, { boundMs: FRESH_BOUND_MS });
      waits.push((at ?? askedAt + FRESH_BOUND_MS) - askedAt);
    } while (await isBusy());
    return waits;
  } finally {
    agent.destroy();
  }
}

class MemoryWatch {
  readonly first: number;
  highest: number;
  private readonly timer: NodeJS.Timeout;

  constructor(pid: number) {
    const now = () => usageOf([pid])?.rssBytes ?? 0;
    this.first = this.highest = now();
    this.timer = setInterval(() => {
      this.highest = Math.max(this.highest, now());
    }, 250);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
