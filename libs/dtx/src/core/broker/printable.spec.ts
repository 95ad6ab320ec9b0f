import { expect, it } from 'vitest';
import { printable } from './printable.js';

it('bytes that end a line or control a terminal are spelled in hex', () => {
  const content = Buffer.from([0x61, 0x0a, 0x1b, 0x5b, 0x9b, 0x7f, 0x5c, 0x7e]);
  expect(printable(content)).toBe('a\\x0a\\x1b[\\x9b\\x7f\\x5c~');
});

it('at most 200 bytes are shown', () => {
  expect(printable(Buffer.alloc(1_000, 'x'))).toHaveLength(200);
});
