import type { Trace, TracedRow } from './types.js';

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

/** An event of a row in the language of the page. */
type Say = (event: string) => string;

/** Merges the rows of all apps into one sequence. Each app's times are those of its own database. */
export function lanesOf(traces: readonly Trace[], more: readonly Step[] = [], say: Say = (event) => event): Lanes {
  const rows = traces.flatMap(({ app, rows: all }) => all.map((row) => ({ app, row })));
  const sendings = rows.flatMap((one) => sendingOf(one, rows));
  const steps = [...rows.flatMap((one) => stepsOf(one, sendings, say)), ...more];
  steps.sort((one, other) => one.at - other.at);
  const used = new Set(steps.flatMap(({ lane, arrow }) => [lane, ...(arrow ? [arrow.from, arrow.to] : [])]));
  const apps = [...used].filter((name) => name !== BROKER);
  const middle = Math.ceil(apps.length / 2);
  // The broker stands between the apps, so its arrows are short.
  const lanes = used.has(BROKER) ? [...apps.slice(0, middle), BROKER, ...apps.slice(middle)] : apps;
  return { lanes, steps };
}

interface Placed {
  readonly app: string;
  readonly row: TracedRow;
}

/** The moment at which a message had left for the broker: the first sign of it, which is a moment of a row. */
interface Sending {
  readonly from: Placed;
  readonly sign: Placed;
  readonly index: number;
  readonly at: number;
}

/**
 * No row has the time of the publish itself: between it and the commit the process may have died for hours. The first sign
 * is the confirm of the broker, the receipt at a consumer, or the end. Confirms are recorded in batches, so a receipt may be
 * earlier. Without a sign it is unknown whether the message has left.
 */
function sendingOf(from: Placed, rows: readonly Placed[]): Sending[] {
  const { message, timeline } = from.row;
  if (message?.end !== 'sender') return [];
  const receivers = rows.filter(({ row }) => row.message?.end === 'receiver' && row.message.id === message.id);
  const signs = [
    ...receivers.map((sign) => ({ sign, index: 0 })),
    ...timeline.flatMap((_, index) =>
      isConfirm(from.row, index) || isReceipt(from.row, index) ? [{ sign: from, index }] : [],
    ),
  ].flatMap(({ sign, index }) => {
    const at = Date.parse(sign.row.timeline[index]?.at ?? '');
    return Number.isNaN(at) ? [] : [{ from, sign, index, at }];
  });
  signs.sort((one, other) => one.at - other.at);
  return signs.slice(0, 1);
}

const eventOf = ({ timeline }: TracedRow, index: number) => timeline[index]?.event ?? '';
const isConfirm = (row: TracedRow, index: number) => /confirmed by the broker/.test(eventOf(row, index));
/** A row that an operator has closed has the same end, without a receipt. */
const isReceipt = (row: TracedRow, index: number) =>
  /settled by every consumer/.test(eventOf(row, index)) &&
  !row.timeline.some(({ event }) => /^(done|reject) by /.test(event));

function stepsOf({ app, row }: Placed, sendings: readonly Sending[], say: Say): Step[] {
  return row.timeline.flatMap(({ at, event }, index) => {
    const signs = sendings.filter((one) => one.sign.row === row && one.index === index);
    const step: Step = {
      at: Date.parse(at),
      lane: laneOf(app, row),
      text: `${row.what}: ${say(event)}`,
      kind: /^gave up/.test(event)
        ? 'failure'
        : /^(retry|done|reject|acknowledge) by /.test(event)
          ? 'operator'
          : 'step',
      arrow:
        signs.length > 0 && isConfirm(row, index)
          ? { from: app, to: BROKER, isReceipt: false }
          : arrowOf(app, row, index),
    };
    return [...(isConfirm(row, index) ? [] : signs.map((one) => sendingStep(one, say))), step];
  });
}

/** The clock of another app may be behind. A message never leaves before its commit. */
function sendingStep({ from: { app, row }, at }: Sending, say: Say): Step {
  return {
    at: Math.max(at, Date.parse(row.timeline[0]?.at ?? '')),
    lane: app,
    text: `${row.what}: ${say('sent by now')}`,
    kind: 'step',
    arrow: { from: app, to: BROKER, isReceipt: false },
  };
}

/** A branch of XA works in the database of another app, so its steps stand in that lane. */
const laneOf = (app: string, { source, details }: TracedRow) =>
  source === 'dtx_xa_witness' ? String(details?.branch ?? app) : app;

function arrowOf(app: string, row: TracedRow, index: number): Step['arrow'] {
  const arrow = (from: string, to: string, isReceipt = false) => (from === to ? null : { from, to, isReceipt });
  if (row.message?.end === 'sender') return isReceipt(row, index) ? arrow(BROKER, app, true) : null;
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
