import type { Trace, TracedRow } from './types';

export const BROKER = 'RabbitMQ';

/** A moment of one row, in the lane of its app. */
export interface Step {
  readonly at: number;
  readonly lane: string;
  readonly text: string;
  readonly kind: 'step' | 'failure' | 'operator';
  /** An arrow between two lanes at this moment. */
  readonly arrow: { readonly from: string; readonly to: string; readonly isReceipt: boolean } | null;
}

export interface Lanes {
  readonly lanes: string[];
  readonly steps: Step[];
}

/** Merges the rows of all apps into one sequence. Each app's times are those of its own database. */
export function lanesOf(traces: readonly Trace[], more: readonly Step[] = []): Lanes {
  const steps = [...traces.flatMap(({ app, rows }) => rows.flatMap((row) => stepsOf(app, row))), ...more];
  steps.sort((one, other) => one.at - other.at);
  const used = new Set(steps.flatMap(({ lane, arrow }) => [lane, ...(arrow ? [arrow.from, arrow.to] : [])]));
  const apps = [...used].filter((name) => name !== BROKER);
  const middle = Math.ceil(apps.length / 2);
  // The broker stands between the apps, so its arrows are short.
  const lanes = used.has(BROKER) ? [...apps.slice(0, middle), BROKER, ...apps.slice(middle)] : apps;
  return { lanes, steps };
}

function stepsOf(app: string, row: TracedRow): Step[] {
  return row.timeline.map(({ at, event }, index) => ({
    at: Date.parse(at),
    lane: laneOf(app, row),
    text: `${row.what}: ${event}`,
    kind: /^gave up/.test(event) ? 'failure' : /^(retry|done|reject|acknowledge) by /.test(event) ? 'operator' : 'step',
    arrow: arrowOf(app, row, event, index),
  }));
}

/** A branch of XA works in the database of another app, so its steps stand in that lane. */
const laneOf = (app: string, { source, details }: TracedRow) =>
  source === 'dtx_xa_witness' ? String(details?.branch ?? app) : app;

function arrowOf(app: string, row: TracedRow, event: string, index: number): Step['arrow'] {
  const arrow = (from: string, to: string, isReceipt = false) => (from === to ? null : { from, to, isReceipt });
  // It is sent right after the commit. The mark of the confirm is collected with others, and may come after the receipt.
  if (row.message?.end === 'sender' && index === 0 && row.timeline.length > 1) return arrow(app, BROKER);
  if (row.message?.end === 'sender' && /settled by every consumer/.test(event)) return arrow(BROKER, app, true);
  if (row.message?.end === 'receiver' && index === 0) return arrow(BROKER, app);
  const { initiator } = row.details ?? {};
  if (typeof initiator === 'string' && initiator !== '-' && index === 0) return arrow(initiator, app);
  if (row.source === 'dtx_xa_witness') return arrow(app, laneOf(app, row));
  return null;
}

/** Rows between two steps: one, and more for a long wait, up to four. */
export function positionsOf(steps: readonly Step[]): number[] {
  let position = 0;
  return steps.map(({ at }, index) => {
    const gap = index === 0 ? 0 : at - (steps[index - 1]?.at ?? at);
    position += index === 0 ? 0 : 1 + Math.min(3, Math.log10(1 + gap / 100));
    return position;
  });
}
