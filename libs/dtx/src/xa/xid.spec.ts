import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newId } from '../core/ids.js';
import { BRANCH_NAME, FORMAT_ID, gtridOf, parseGtrid, xidSql } from './xid.js';

const LOG = '0123456789abcdef';
/** The longest timeout that six hex digits hold. */
const TIMEOUT_MS_MAX = 0xffffff;

describe('gtridOf', () => {
  it('makes a gtrid that parseGtrid reads back, whatever the start and the timeout', () => {
    const anyStart = fc.integer({ min: 1, max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(anyStart, fc.integer({ min: 0, max: TIMEOUT_MS_MAX }), (startMs, timeoutMs) => {
        const id = newId(startMs);
        const read = parseGtrid(gtridOf(LOG, id, timeoutMs));
        expect(read).toEqual({ logId: LOG, id, startMs, deadlineMs: startMs + timeoutMs });
      }),
    );
  });

  it('never exceeds the 64 bytes that the servers take', () => {
    expect(Buffer.byteLength(gtridOf(LOG, newId(), TIMEOUT_MS_MAX))).toBeLessThanOrEqual(64);
  });
});

describe('parseGtrid', () => {
  const id = newId(1_795_000_000_000);

  it.each([
    ['an empty text', ''],
    ['the gtrid of another transaction manager', 'ACTIVEMQ:1'],
    ['a log id that is too short', `0123.00000a.${id}`],
    ['a log id in capitals', `0123456789ABCDEF.00000a.${id}`],
    ['a timeout that is too short', `${LOG}.a.${id}`],
    ['an id that is not a UUID v7', `${LOG}.00000a.f47ac10b-58cc-4372-a567-0e02b2c3d479`],
    ['a text behind it', `${LOG}.00000a.${id}x`],
    ['a text before it', `x${LOG}.00000a.${id}`],
    ['a line feed behind it', `${LOG}.00000a.${id}\n`],
  ])('returns null for %s', (_, gtrid) => {
    expect(parseGtrid(gtrid)).toBeNull();
  });
});

describe('xidSql', () => {
  it('writes all three parts as literals, with the format of this library', () => {
    expect(xidSql('ab', 'payment')).toBe(`X'6162',X'7061796d656e74',${FORMAT_ID}`);
  });

  it('writes nothing but hex digits for any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (gtrid, branch) => {
        expect(xidSql(gtrid, branch)).toMatch(/^X'[0-9a-f]*',X'[0-9a-f]*',\d+$/);
      }),
    );
  });
});

describe('BRANCH_NAME', () => {
  it.each(['a', 'payment', 'stock-2', 'x'.repeat(32)])('allows %j', (name) => {
    expect(name).toMatch(BRANCH_NAME);
  });

  it.each(['', '2', '-a', 'Payment', 'a_b', 'x'.repeat(33), 'a\n'])('does not allow %j', (name) => {
    expect(name).not.toMatch(BRANCH_NAME);
  });
});
