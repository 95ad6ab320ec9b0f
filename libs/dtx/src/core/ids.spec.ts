import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DtxError } from './errors/errors.js';
import { assertGid, idFloor, idTimeMs, newId } from './ids.js';

/** Any code point. The unit 'binary' of fast-check builds a table first, which takes seconds. */
const character = fc.nat(0x10ffff).map((point) => String.fromCodePoint(point));
const anyTime = fc.integer({ min: 0, max: 2 ** 48 - 2 });

describe('an id', () => {
  it('is a unique UUID v7 in the usual form', () => {
    const ids = Array.from({ length: 1_000 }, () => newId());
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(1_000);
    const sameMoment = Array.from({ length: 1_000 }, () => newId(1_795_000_000_000));
    expect(new Set(sameMoment).size).toBe(1_000);
  });

  it('carries its creation time', () => {
    fc.assert(fc.property(anyTime, (ms) => idTimeMs(newId(ms)) === ms));
  });

  it('sorts as text after every id of an earlier moment', () => {
    fc.assert(
      fc.property(anyTime, fc.integer({ min: 1, max: 10_000_000 }), (ms, later) => {
        fc.pre(ms + later < 2 ** 48);
        expect(newId(ms) < newId(ms + later)).toBe(true);
      }),
    );
  });

  it('has a floor above the ids of earlier moments and not above those of its own', () => {
    fc.assert(
      fc.property(anyTime, (ms) => {
        expect(idFloor(ms) <= newId(ms)).toBe(true);
        expect(idFloor(ms + 1) > newId(ms)).toBe(true);
        expect(idTimeMs(idFloor(ms))).toBe(ms);
      }),
    );
    expect(idFloor(-5)).toBe('00000000-0000-7000-8000-000000000000');
    expect(idFloor(1.9)).toBe(idFloor(1));
  });

  it.each(['', 'x', '01976d2e-8c1b-4d3a-9f00-5a1c2b3d4e5f', '01976D2E-8C1B-7D3A-9F00-5A1C2B3D4E5F', 'order-7'])(
    'has no time if it is not a UUID v7: %j',
    (id) => expect(idTimeMs(id)).toBeUndefined(),
  );
});

describe('a gid', () => {
  it.each(['a', '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f', 'stock:item-0001:7', 'x'.repeat(64), 'A_b.c:d-9'])(
    'may be %j',
    (gid) => expect(assertGid(gid)).toBe(gid),
  );

  it.each(['', 'x'.repeat(65), 'a b', 'a\n', 'é', '😀', "' OR 1=1", 'a/b', 'a\0', '%', 'a"b'])('may not be %j', (gid) =>
    expect(() => assertGid(gid)).toThrow(DtxError),
  );

  it.each([undefined, null, 42, ['a'], { a: 1 }])('may not be %j, which is not a text', (gid) =>
    expect(() => assertGid(gid as unknown as string)).toThrow(/^invalid gid: expected 1 to 64 of .*, got /),
  );

  it('is shown in one short line when it is refused', () => {
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 120 }), (text) => {
        try {
          assertGid(text);
        } catch (error) {
          expect((error as Error).message).not.toMatch(/[\n\r\0]/);
          expect((error as Error).message.length).toBeLessThan(200);
        }
      }),
    );
  });
});
