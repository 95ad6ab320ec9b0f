import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bind, SqlExpression } from './sql-literals.js';

/** Any code point. The unit 'binary' of fast-check builds a table first, which takes seconds. */
const character = fc.nat(0x10ffff).map((point) => String.fromCodePoint(point));

describe('bind', () => {
  test('writes plain text between quotes', () => {
    expect(bind('SELECT ?', ['order.placed-1'])).toBe(`SELECT _utf8mb4'order.placed-1'`);
  });

  test.each(["o'brien", 'a\\b', 'né', '\n', '\0', ''])('writes %j as hex', (text) => {
    expect(bind('?', [text])).toBe(`_utf8mb4 X'${Buffer.from(text).toString('hex')}'`);
  });

  test('writes numbers, booleans, null, bytes, expressions and lists', () => {
    const values = [1, -2n, true, null, Buffer.from('ab'), new SqlExpression('NOW()'), [1, 2]];
    expect(bind('? ? ? ? ? ? (?)', values)).toBe(`1 -2 1 NULL X'6162' NOW() (1, 2)`);
    expect(
      bind('VALUES ?', [
        [
          ['a', 1],
          ['b', null],
        ],
      ]),
    ).toBe(`VALUES (_utf8mb4'a', 1), (_utf8mb4'b', NULL)`);
  });

  test('writes a time as UTC in any zone of the process', () => {
    expect(bind('?', [new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6))])).toBe(`_utf8mb4'2026-01-02 03:04:05.006'`);
  });

  test('ignores a question mark inside a value', () => {
    expect(bind('? ?', ['?', 1])).toBe(`_utf8mb4'?' 1`);
  });

  test.each([[[]], [['a', 'b']]])('rejects %j values for one place', (values) => {
    expect(() => bind('?', values)).toThrow('1 places');
  });

  test.each([Number.NaN, 1.5, 2 ** 60, undefined, {}, []])('rejects %s', (value) => {
    expect(() => bind('?', [value as never])).toThrow();
  });

  test('keeps any text inside its literal: only hex digits appear outside of quotes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.oneof(character, fc.constantFrom("'", '\\', '"', '\0')), maxLength: 40 }),
        (text) => {
          expect(bind('?', [text])).toMatch(/^_utf8mb4('[^'\\]*'| X'[0-9a-f]*')$/);
        },
      ),
    );
  });
});
