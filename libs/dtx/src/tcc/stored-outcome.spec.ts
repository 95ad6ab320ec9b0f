import { describe, expect, it } from 'vitest';
import { outcomeOf, TIMEOUT } from './stored-outcome.js';
import type { TccRow } from './tcc-tables.js';

const row = (decision: TccRow['decision'], reason: string | null = null, decided_at: TccRow['decided_at'] = null) =>
  ({ id: 'order-1', decision, reason, decided_at }) as TccRow;
const decidedAt = new Date('2026-03-01T12:00:00.123Z');

describe('outcomeOf', () => {
  it('is PENDING without a decision, and waits for no participant that is known', () => {
    expect(outcomeOf(row(null), ['payment.funds'])).toEqual({ gid: 'order-1', status: 'PENDING', waitingFor: [] });
  });

  it('is PENDING while a decision has no time, since it may not be committed', () => {
    expect(outcomeOf(row('CONFIRM'), [])).toMatchObject({ status: 'PENDING' });
  });

  it('is CONFIRMED without a reason', () => {
    expect(outcomeOf(row('CONFIRM', null, decidedAt), ['payment.funds'])).toEqual({
      gid: 'order-1',
      status: 'CONFIRMED',
      decidedAt,
      waitingFor: ['payment.funds'],
    });
  });

  it('is CANCELLED with its reason, and with TIMEOUT if it has none', () => {
    expect(outcomeOf(row('CANCEL', 'OUT_OF_STOCK', decidedAt), [])).toMatchObject({
      status: 'CANCELLED',
      reason: 'OUT_OF_STOCK',
    });
    expect(outcomeOf(row('CANCEL', null, decidedAt), [])).toMatchObject({ status: 'CANCELLED', reason: TIMEOUT });
  });

  it('reads a time that the driver returns as text as UTC', () => {
    expect(outcomeOf(row('CONFIRM', null, '2026-03-01 12:00:00.123'), []).decidedAt).toEqual(decidedAt);
  });
});
