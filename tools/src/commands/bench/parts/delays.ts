// Delayed messages: how late they are in an idle shop, and the cost of a million scheduled ones at rest and in a claim. The
// due time is in the outbox row, the inbox row has the begin of the handler's transaction. Both are by the clock of one
// database, so the figure is a little too high, never too low.
import { setTimeout as sleep } from 'node:timers/promises';
import { addDueRows, addScheduledRows, isUndone } from '../outbox-rows.js';
import { usageOf } from '../process-usage.js';
import type { Finding } from '../report.js';
import type { ShopDatabases } from '../shop-databases.js';
import { Sinks } from '../sinks.js';
import type { Shop } from '../stage.js';
import { percentiles } from '../summary.js';
import { CLAIM } from './claims.js';
import { type PartOptions, secondsUntil } from './part.js';

const BOUND_MS = 120_000;
/** One delayed message comes due after the other, each alone. */
const APART_MS = 100;

export async function delays({ stage, progress, quick, rows }: PartOptions): Promise<Finding[]> {
  const scheduled = rows ?? (quick ? 100_000 : 1_000_000);
  const idleS = quick ? 10 : 60;
  const shop = await stage.open('shop', { counting: true });
  const sinks = await Sinks.start(shop.sandbox.rabbitmq);
  try {
    progress.step('the shop at rest');
    const pids = { apps: shop.processes.pids, databases: stage.serverPids('databases') };
    const none = await atRest(shop, pids, idleS);
    const late = await lateness(shop, quick ? 100 : 500, 'few');
    progress.step(`filling up to ${scheduled} scheduled rows`);
    await addScheduledRows(shop.databases, scheduled, 'later');
    progress.step(`the shop at rest with ${scheduled} scheduled rows`);
    const many = await atRest(shop, pids, idleS);
    const lateAmongMany = await lateness(shop, quick ? 100 : 500, 'many');
    const claims = await claimTimes(shop, quick ? 4_000 : 20_000);
    const beside = `with ${scheduled} scheduled rows`;
    return [
      ...latenessFindings('', late),
      ...latenessFindings(`, ${beside}`, lateAmongMany),
      { what: 'SQL packets of the idle order app', value: none.packetsPerS, unit: 'per s' },
      { what: `SQL packets of the idle order app ${beside}`, value: many.packetsPerS, unit: 'per s' },
      { what: 'CPU of the idle apps', value: none.appsPercent, unit: '%' },
      { what: `CPU of the idle apps ${beside}`, value: many.appsPercent, unit: '%' },
      { what: 'CPU of the idle databases', value: none.databasesPercent, unit: '%' },
      { what: `CPU of the idle databases ${beside}`, value: many.databasesPercent, unit: '%' },
      { what: `claim ${beside}, p50 of ${claims.length}`, value: percentiles(claims).p50, unit: 'ms' },
      { what: `claim ${beside}, p99 of ${claims.length}`, value: percentiles(claims).p99, unit: 'ms' },
    ];
  } finally {
    await sinks.stop();
    await shop.stop();
  }
}

function latenessFindings(beside: string, late: readonly number[]): Finding[] {
  const { p50, p99 } = percentiles([...late]);
  return [
    { what: `late when due${beside}, p50 of ${late.length}`, value: p50, unit: 'ms' },
    { what: `late when due${beside}, p99 of ${late.length}`, value: p99, unit: 'ms' },
    { what: `handled before they were due${beside}`, value: late.filter((ms) => ms < 0).length, unit: 'messages' },
  ];
}

interface Pids {
  readonly apps: readonly number[];
  readonly databases: readonly number[];
}

/** The figures of some seconds in which nothing is bought. They begin once the server has written all its pages. */
async function atRest({ traffic, databases }: Shop, pids: Pids, seconds: number) {
  await secondsUntil('writing the pages of the rows', () => hasWritten(databases), BOUND_MS);
  const look = () => ({
    packets: traffic!.databases.order.commands,
    appsMs: usageOf(pids.apps)?.cpuMs ?? 0,
    databasesMs: usageOf(pids.databases)?.cpuMs ?? 0,
  });
  const before = look();
  await sleep(seconds * 1_000);
  const after = look();
  return {
    packetsPerS: (after.packets - before.packets) / seconds,
    appsPercent: (after.appsMs - before.appsMs) / (seconds * 10),
    databasesPercent: (after.databasesMs - before.databasesMs) / (seconds * 10),
  };
}

/** Whether the server has written no page in a second. */
async function hasWritten(databases: ShopDatabases): Promise<boolean> {
  const pages = async () => {
    const [row] = await databases.query<{ Value: string }>('order', `SHOW GLOBAL STATUS LIKE 'Innodb_pages_written'`);
    return Number(row!.Value);
  };
  const before = await pages();
  await sleep(1_000);
  return (await pages()) === before;
}

/** The order app handles its own messages. Their orders do not exist, so the handler only reads. */
async function lateness({ databases }: Shop, count: number, prefix: string): Promise<number[]> {
  await addScheduledRows(databases, count, prefix, { consumer: 'order.expire', firstMs: 2_000, apartMs: APART_MS });
  type Handled = { late: number | bigint };
  const sql = `SELECT TIMESTAMPDIFF(MICROSECOND, m.created_at, i.created_at) AS late
    FROM dtx_inbox i JOIN dtx_outbox m ON m.id = i.message_id WHERE m.id LIKE '${prefix}%'`;
  const handled = () => databases.query<Handled>('order', sql);
  await secondsUntil(`handling ${count} delayed messages`, async () => (await handled()).length >= count, BOUND_MS);
  return (await handled()).map(({ late }) => Number(late) / 1_000);
}

async function claimTimes({ databases, traffic }: Shop, due: number): Promise<number[]> {
  const times: number[] = [];
  const proxy = traffic!.databases.order;
  proxy.onAnswer = (shape, ms) => CLAIM.test(shape) && times.push(ms);
  await addDueRows(databases, due, 'claim-among-scheduled-');
  const isDone = async () => !(await isUndone(databases));
  await secondsUntil(`claiming ${due} rows among the scheduled ones`, isDone, BOUND_MS);
  return times;
}
