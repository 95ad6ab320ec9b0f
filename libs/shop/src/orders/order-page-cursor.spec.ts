import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cursorOf, positionOf } from './order-page-cursor.js';

const position = { createdAt: new Date('2026-01-31T09:15:00.123Z'), orderId: '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f' };
const filters = { scheme: 'xa', buyerId: 'alice' } as const;

describe('a cursor', () => {
  it('decodes to its position', () => {
    const positions = fc.record({
      createdAt: fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
      orderId: fc.uuid(),
    });
    fc.assert(
      fc.property(positions, (given) => {
        expect(positionOf(cursorOf(given, filters), filters)).toEqual(given);
      }),
    );
  });

  it('is refused if any character is changed, added or removed', () => {
    const cursor = cursorOf(position, filters);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= %\0é';
    for (let i = 0; i < cursor.length; i++) {
      for (const character of alphabet) {
        if (character === cursor[i]) continue;
        expect(positionOf(cursor.slice(0, i) + character + cursor.slice(i + 1), filters)).toBeNull();
      }
      expect(positionOf(cursor.slice(0, i) + cursor.slice(i + 1), filters)).toBeNull();
    }
    expect(positionOf(`${cursor}A`, filters)).toBeNull();
    expect(positionOf('', filters)).toBeNull();
  });

  it('is refused if its time is later than a DATETIME column can hold', () => {
    const last = new Date('9999-12-31T23:59:59.999Z');
    expect(positionOf(cursorOf({ ...position, createdAt: last }, filters), filters)?.createdAt).toEqual(last);
    for (const ms of [last.getTime() + 1, 2 ** 48 - 1])
      expect(positionOf(cursorOf({ ...position, createdAt: new Date(ms) }, filters), filters)).toBeNull();
  });

  it('is only valid with its own filters', () => {
    const cursor = cursorOf(position, filters);
    expect(positionOf(cursor, { ...filters, buyerId: 'bob' })).toBeNull();
    expect(positionOf(cursor, {})).toBeNull();
  });
});
