// How long a claim takes with many finished rows in the table, as a proxy before the database sees it.
import { OperatorError } from '../../../cli/operator-error.js';
import { addDueRows, addFinishedRows, isUndone } from '../outbox-rows.js';
import type { Finding } from '../report.js';
import { Sinks } from '../sinks.js';
import { percentiles } from '../summary.js';
import { type PartOptions, secondsUntil } from './part.js';

const SIZES = [10_000, 100_000, 1_000_000, 10_000_000];
const BOUND_MS = 120_000;
/** The looks for due rows and the locking reads of them. Each statement is a sample of its own. */
export const CLAIM = /^(?!.*COUNT\(\*\)).*dtx_outbox.*(FORCE INDEX \(due\)|SKIP LOCKED)/;

export async function claims({ stage, progress, quick, rows }: PartOptions): Promise<Finding[]> {
  const rowsMax = rows ?? (quick ? 100_000 : 1_000_000);
  const sizes = SIZES.filter((size) => size <= rowsMax);
  const due = quick ? 4_000 : 20_000;
  const shop = await stage.open('shop', { counting: true });
  const sinks = await Sinks.start(shop.sandbox.rabbitmq);
  const proxy = shop.traffic!.databases.order;
  let times: number[] = [];
  proxy.onAnswer = (shape, ms) => CLAIM.test(shape) && times.push(ms);
  try {
    const findings: Finding[] = [];
    let filled = 0;
    for (const size of sizes) {
      progress.step(`filling up to ${size} finished rows`);
      await addFinishedRows(shop.databases, size - filled, `done${size}-`);
      filled = size;
      times = [];
      await addDueRows(shop.databases, due, `claim${size}-`);
      const isDone = async () => !(await isUndone(shop.databases));
      await secondsUntil(`claiming ${due} rows with ${size} finished rows`, isDone, BOUND_MS);
      if (times.length === 0) throw new OperatorError('bench: no claim was seen; see CLAIM in parts/claims.ts');
      const { p50, p99 } = percentiles(times);
      findings.push(
        { what: `claim with ${size} finished rows, p50 of ${times.length}`, value: p50, unit: 'ms' },
        { what: `claim with ${size} finished rows, p99 of ${times.length}`, value: p99, unit: 'ms' },
      );
    }
    return findings;
  } finally {
    await sinks.stop();
    await shop.stop();
  }
}
