import { describe, expect, test } from 'vitest';
import { type BarrierRow, type BranchKey, isRepeatOf, knownParts, ownRows } from './barrier-row-matching.js';
import { UNKNOWN } from './tcc-tables.js';

const key: BranchKey = {
  gid: 'order-4711',
  branch: 0,
  participant: 'inventory.pick',
  initiator: 'payment',
  incarnation: 'a1',
};
const byOldInitiator = { ...key, incarnation: UNKNOWN };

function row(op: BarrierRow['op'], differs: Partial<BarrierRow> = {}): BarrierRow {
  const { participant, initiator, incarnation } = key;
  const phase = op === 'try' ? 'try' : 'second';
  return { phase, op, participant, initiator, incarnation, data: null, ...differs };
}
/** A row as the version before writes it. */
const old = (op: BarrierRow['op'], differs: Partial<BarrierRow> = {}) =>
  row(op, { initiator: UNKNOWN, incarnation: UNKNOWN, ...differs });

describe('the rows of a transaction', () => {
  test('a row with the name of a transaction belongs to it', () => {
    const rows = [row('try'), row('confirm')];
    expect(ownRows(rows, key)).toEqual({ first: rows[0], second: rows[1], problem: undefined });
  });

  test.each([
    ['another initiator', { initiator: 'order' }],
    ['another incarnation', { incarnation: 'b2' }],
  ])('a row of %s under the same gid and branch belongs to another transaction', (_, differs) => {
    const none = { first: undefined, second: undefined, problem: undefined };
    expect(ownRows([row('try', differs), row('cancel', differs)], key)).toEqual(none);
  });

  test('a row with the name of a transaction is preferred to one that does not say whose it is', () => {
    const own = row('try');
    expect(ownRows([old('try'), own], key)).toMatchObject({ first: own, problem: undefined });
  });

  test('a row with the name of a transaction and another participant is illegal', () => {
    expect(ownRows([row('try', { participant: 'inventory.ship' })], key).problem).toEqual({
      kind: 'illegal',
      what: 'branch 0 belongs to inventory.ship',
    });
  });

  test('a row of the version before belongs to the transaction that asks for it', () => {
    const rows = [old('try'), old('confirm')];
    expect(ownRows(rows, key)).toEqual({ first: rows[0], second: rows[1], problem: undefined });
  });

  test('a row of the version before belongs to no transaction with another participant in its branch', () => {
    expect(ownRows([old('try', { participant: 'inventory.ship' })], key).first).toBeUndefined();
  });

  test('a call of an old instance finds the rows of its initiator, and of no other', () => {
    expect(ownRows([row('try')], byOldInitiator).first).toEqual(row('try'));
    expect(ownRows([row('try', { initiator: 'order' })], byOldInitiator).first).toBeUndefined();
  });

  test('a call of an old instance is unclear when several transactions of its initiator fit', () => {
    const rows = [row('try'), row('try', { incarnation: 'b2' })];
    expect(ownRows(rows, byOldInitiator).problem).toMatchObject({ kind: 'unclear' });
    expect(ownRows(rows, key).problem).toBeUndefined();
  });
});

describe('a repeated Try', () => {
  test('a Try repeats the row that it has written itself', () => {
    expect(isRepeatOf(row('try'), key)).toBe(true);
    expect(isRepeatOf(old('try'), byOldInitiator)).toBe(true);
  });

  test('a Try does not repeat a row that another transaction may have written', () => {
    expect(isRepeatOf(old('try'), key)).toBe(false);
    expect(isRepeatOf(row('try', { incarnation: UNKNOWN }), key)).toBe(false);
    expect(isRepeatOf(row('try'), byOldInitiator)).toBe(false);
  });

  test('a Try does not repeat a Cancel that took its place', () => {
    expect(isRepeatOf(row('cancel', { phase: 'try' }), key)).toBe(false);
  });
});

test('a name counts its known parts', () => {
  expect([old('try'), byOldInitiator, key].map(knownParts)).toEqual([0, 1, 2]);
});
