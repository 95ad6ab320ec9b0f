import { describe, expect, it } from 'vitest';
import { momentFrom } from './moment.js';
import { redriveOf, type SentRow } from './redrive-selection.js';

const done: SentRow = {
  state: 'DONE',
  contract: 'order.placed',
  consumers: ',a.one,b.two,',
  awaiting: ',',
  isUnreceipted: false,
  isInWindow: true,
  isTooOld: false,
};
const open: SentRow = { ...done, state: 'SENT', awaiting: ',b.two,', isInWindow: false };
const all = { isWithoutReceipts: false };

describe('redriveOf', () => {
  it('sends a DONE row of the window to all its consumers, and none outside of it', () => {
    expect(redriveOf(done, all)).toEqual({ awaiting: ',a.one,b.two,' });
    expect(redriveOf({ ...done, isInWindow: false }, all)).toBeNull();
  });

  it('sends to one consumer or of one contract only', () => {
    expect(redriveOf(done, { ...all, consumer: 'b.two' })).toEqual({ awaiting: ',b.two,' });
    expect(redriveOf(done, { ...all, consumer: 'c.three' })).toBeNull();
    expect(redriveOf(done, { ...all, contract: 'order.paid' })).toBeNull();
  });

  it('adds the consumers that have sent their receipts to those an open row waits for', () => {
    expect(redriveOf(open, all)).toEqual({ awaiting: ',b.two,a.one,' });
    expect(redriveOf({ ...open, awaiting: ',a.one,b.two,' }, all)).toBeNull();
    expect(redriveOf({ ...open, state: 'PARKED' }, all)).toEqual({ leftOut: 'parked' });
  });

  it('leaves out a consumer for which an operator has resolved the row by hand', () => {
    expect(redriveOf({ ...done, awaiting: ',b.two,' }, all)).toEqual({ awaiting: ',a.one,' });
    expect(redriveOf({ ...done, awaiting: ',a.one,b.two,' }, all)).toBeNull();
  });

  it('asks for the consumer of a row that did not store it', () => {
    const earlier = { ...done, consumers: null };
    expect(redriveOf(earlier, all)).toEqual({ leftOut: 'unknown' });
    expect(redriveOf(earlier, { ...all, contract: 'order.placed', consumer: 'a.one' })).toEqual({
      awaiting: ',a.one,',
    });
  });

  it('leaves out rows without receipts unless they are asked for', () => {
    const foreign = { ...done, isUnreceipted: true, awaiting: ',a.one,b.two,' };
    expect(redriveOf(foreign, all)).toEqual({ leftOut: 'unreceipted' });
    expect(redriveOf(foreign, { isWithoutReceipts: true })).toEqual({ awaiting: ',a.one,b.two,' });
    const toExchange = { ...foreign, consumers: ',', awaiting: ',' };
    expect(redriveOf(toExchange, { isWithoutReceipts: true })).toEqual({ awaiting: ',' });
    expect(redriveOf(toExchange, { isWithoutReceipts: true, consumer: 'a.one' })).toBeNull();
  });

  it('leaves out a row that a receiver would park for its age', () => {
    expect(redriveOf({ ...done, isTooOld: true }, all)).toEqual({ leftOut: 'old' });
  });
});

describe('momentFrom', () => {
  const nowMs = Date.parse('2026-01-31T12:00:00Z');

  it.each([
    ['30m', nowMs - 1_800_000],
    ['2d', nowMs - 172_800_000],
    ['2026-01-31T11:00:00Z', nowMs - 3_600_000],
    ['2026-01-31T12:30:00.5+01:00', nowMs - 1_799_500],
  ])('reads %s', (text, ms) => {
    expect(momentFrom('since', text, nowMs)).toBe(ms);
  });

  it.each(['', 'yesterday', '2026-01-31', '2026-01-31T11:00:00', '2026-13-31T11:00:00Z', '-2h', '5'])(
    'refuses %j',
    (text) => expect(() => momentFrom('since', text, nowMs)).toThrow(/--since: expected a time with its zone/),
  );

  it('refuses the future', () => {
    expect(() => momentFrom('since', '2026-01-31T12:00:01Z', nowMs)).toThrow(/is in the future/);
  });
});
