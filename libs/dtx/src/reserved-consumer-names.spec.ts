import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineMessage, OptionsError } from './index.js';

describe('a contract whose consumer would share a queue with a scheme', () => {
  it.each([
    ['notifications', 'payment.notify'],
    ['half messages', 'inventory.half-check'],
    ['a TCC participant', 'payment.tcc-funds'],
  ])('is rejected with OptionsError: %s', (_, consumer) => {
    const schema = z.object({ id: z.string() });
    const define = () =>
      defineMessage({ name: 'order.shipped', version: 1, schema, consumers: [consumer], gid: ({ id }) => id });
    expect(define).toThrow(OptionsError);
    expect(define).toThrow(consumer);
  });
});
