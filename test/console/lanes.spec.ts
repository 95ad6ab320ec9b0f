import { describe, expect, it } from 'vitest';
import { BROKER, lanesOf, type Step } from '../../libs/console/src/lanes.js';
import { nextActorOf } from '../../libs/console/src/next-actor.js';
import type { Trace, TracedRow } from '../../libs/console/src/types.js';

type Moments = Array<[ms: number, event: string]>;

const START = Date.parse('2026-01-01T00:00:00.000Z');
const timeline = (moments: Moments) =>
  moments.map(([ms, event]) => ({ at: new Date(START + ms).toISOString(), event }));

function row(end: 'sender' | 'receiver', moments: Moments, part: Partial<TracedRow> = {}): TracedRow {
  const message = { id: 'm', end, consumers: ['pay.take'], awaiting: [] };
  const view = { id: `${end}-row`, gid: 'g', scheme: 'local-message', state: 'DONE', attempts: 0, lastError: null };
  const createdAt = new Date(START).toISOString();
  const source = end === 'sender' ? 'dtx_outbox' : 'dtx_inbox';
  return { ...view, what: end, source, createdAt, nextAttemptAt: null, timeline: timeline(moments), message, ...part };
}

const trace = (app: string, rows: TracedRow[]): Trace => ({
  app,
  gid: 'g',
  at: '',
  rows,
  alerts: [],
  isComplete: true,
});
/** The moments and texts of steps with an arrow, in the order in which they are drawn. */
const arrowsOf = (steps: readonly Step[]) =>
  steps.flatMap(({ at, arrow }) => (arrow ? [`${at - START} ${arrow.from} > ${arrow.to}`] : []));
const lanes = (sender: Moments, receiver: Moments, more: Step[] = [], order: 1 | -1 = 1) =>
  lanesOf(
    [trace('order', [row('sender', sender)]), trace('payment', [row('receiver', receiver)])].sort(() => order),
    more,
  ).steps;

describe('the arrow of a message', () => {
  const committed: Moments[number] = [0, 'committed with the business'];
  const settled: Moments[number] = [9_500, 'settled by every consumer'];

  it('stands after the death of a process that had committed and not sent', () => {
    const died: Step = { at: START + 3, lane: 'order', text: 'died', kind: 'failure', arrow: null };
    const receipts: Moments = [[9_000, 'received by pay.take']];
    const steps = lanes([committed, [9_100, 'first confirmed by the broker'], settled], receipts, [died]);
    expect(steps.map(({ text }) => text)).toEqual([
      'sender: committed with the business',
      'died',
      'sender: sent by now',
      'receiver: received by pay.take',
      'sender: first confirmed by the broker',
      'sender: settled by every consumer',
    ]);
    expect(arrowsOf(steps)).toEqual(['9000 order > RabbitMQ', '9000 RabbitMQ > payment', '9500 RabbitMQ > order']);
  });

  it('stands at the confirm if that is the first sign, and before the receipt in any order of the apps', () => {
    const confirmed = lanes([committed, [4, 'first confirmed by the broker']], [[6, 'received by pay.take']]);
    expect(arrowsOf(confirmed)).toEqual(['4 order > RabbitMQ', '6 RabbitMQ > payment']);
    const inOtherOrder = lanes([committed, settled], [[6, 'received by pay.take']], [], -1);
    expect(arrowsOf(inOtherOrder)).toEqual(['6 order > RabbitMQ', '6 RabbitMQ > payment', '9500 RabbitMQ > order']);
  });

  it('is the first of several receipts, and there is one only', () => {
    const rows = [row('receiver', [[8, 'received by b.late']]), row('receiver', [[5, 'received by a.early']])];
    const { steps } = lanesOf([trace('order', [row('sender', [committed, settled])]), trace('payment', rows)]);
    expect(arrowsOf(steps).filter((text) => text.endsWith(BROKER))).toEqual([`5 order > ${BROKER}`]);
  });

  it('is missing while nothing shows that the message has left, though an attempt has failed or it was cancelled', () => {
    const waiting = lanesOf([trace('order', [row('sender', [committed, [50, 'gave up: no route']])])]).steps;
    expect(arrowsOf(waiting)).toEqual([]);
    const cancelled = lanesOf([trace('order', [row('sender', [committed, [50, 'cancelled']])])]).steps;
    expect(arrowsOf(cancelled)).toEqual([]);
  });

  it('is missing for a row that an operator has closed, since a receipt never came', () => {
    const closed: Moments = [committed, [60, 'settled by every consumer'], [60, 'done by alice: by hand']];
    expect(arrowsOf(lanesOf([trace('order', [row('sender', closed)])]).steps)).toEqual([]);
  });

  it('stands at the commit if the clock of the receiver is behind', () => {
    expect(arrowsOf(lanes([committed, settled], [[-20, 'received by pay.take']]))).toEqual([
      '-20 RabbitMQ > payment',
      '0 order > RabbitMQ',
      '9500 RabbitMQ > order',
    ]);
  });
});

describe('who acts next', () => {
  const actor = (source: string, state: string) => nextActorOf({ source, state });

  it('is recovery for a branch of XA in doubt, and none for a branch with a witness', () => {
    expect(actor('dtx_xa_witness', 'PREPARED')).toBe('recovery');
    expect(actor('dtx_xa_witness', 'UNKNOWN')).toBe('recovery');
    expect(actor('dtx_xa_witness', 'COMMITTED')).toBe('finished');
    expect(actor('dtx_xa_witness', 'ROLLED_BACK')).toBe('finished');
  });

  it('is an operator for a parked row, the app for another open one, and none for a final one', () => {
    expect(actor('dtx_half', 'PARKED')).toBe('operator');
    expect(actor('dtx_half', 'COMMITTED')).toBe('app');
    expect(actor('dtx_outbox', 'SCHEDULED')).toBe('schedule');
    expect(actor('dtx_keyed', 'WAITING')).toBe('predecessor');
    expect(actor('dtx_keyed', 'HELD')).toBe('receiver');
    expect(actor('dtx_inbox', 'HANDLED')).toBe('finished');
    expect(actor('dtx_tcc_barrier', 'APPLIED')).toBe('finished');
  });
});
