// Messages in order of a key: what many keys carry, and whether a parked head with a long queue behind it slows the others.
import { addKeyedRows } from '../outbox-rows.js';
import type { Finding } from '../report.js';
import { Sinks } from '../sinks.js';
import type { Shop } from '../stage.js';
import { percentiles } from '../summary.js';
import { type PartOptions, secondsUntil } from './part.js';

const BOUND_MS = 480_000;
/** Messages of each key in motion. */
const PER_KEY = 10;
/** Reads and claims of the relay, without those of the bench. */
const LOOK = /^(?!.*COUNT\(\*\)).*dtx_keyed .*(FORCE INDEX|SKIP LOCKED)/;

export async function keys({ stage, progress, quick, rows }: PartOptions): Promise<Finding[]> {
  const behind = rows ?? (quick ? 10_000 : 100_000);
  const count = quick ? 200 : 1_000;
  const shop = await stage.open('shop', { counting: true });
  const sinks = await Sinks.start(shop.sandbox.rabbitmq);
  let times: number[] = [];
  shop.traffic!.databases.order.onAnswer = (shape, ms) => LOOK.test(shape) && times.push(ms);
  const measure = async (name: string, what: string): Promise<Finding[]> => {
    await shop.processes.kill('order');
    await addKeyedRows(shop.databases, { keys: count, perKey: PER_KEY, prefix: name });
    times = [];
    progress.step(`${count} keys with ${PER_KEY} messages each, ${what}`);
    shop.processes.start('order');
    const seconds = await secondsUntil(`sending the messages ${what}`, () => isDone(shop, name), BOUND_MS);
    const { p50, p99 } = percentiles(times);
    return [
      {
        what: `${count} keys with ${PER_KEY} messages each, ${what}`,
        value: (count * PER_KEY) / seconds,
        unit: 'messages/s',
      },
      { what: `a look at heads ${what}, p50 of ${times.length}`, value: p50, unit: 'ms' },
      { what: `a look at heads ${what}, p99 of ${times.length}`, value: p99, unit: 'ms' },
    ];
  };
  try {
    const alone = await measure('alone', 'and nothing else');
    progress.step(`${behind} messages behind a parked head`);
    await shop.processes.kill('order');
    await addKeyedRows(shop.databases, { keys: 1, perKey: behind + 1, prefix: 'stuck', parkedHead: true });
    return [...alone, ...(await measure('beside', `beside ${behind} behind a parked head`))];
  } finally {
    await sinks.stop();
    await shop.stop();
  }
}

async function isDone({ databases }: Shop, prefix: string): Promise<boolean> {
  const sql = `SELECT 1 FROM dtx_keyed FORCE INDEX (in_order) WHERE open_key LIKE '${prefix}-%' LIMIT 1`;
  return (await databases.query('order', sql)).length === 0;
}
