import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { InvalidRequest } from './problem.js';
import { Checked } from './zod-validation.pipe.js';

const body = z.strictObject({ buyerId: z.string(), sku: z.enum(['book', 'mug']), quantity: z.int() });

describe('Checked', () => {
  const errorsOf = (check: () => unknown): InvalidRequest['errors'] => {
    try {
      check();
    } catch (error) {
      if (error instanceof InvalidRequest) return error.errors;
      throw error;
    }
    return [];
  };

  it('names each invalid field', () => {
    const errors = errorsOf(() => new Checked(body).transform({ buyerId: 7, sku: 'car', qty: 1, x: 2 }));
    expect(errors.map(({ field }) => field).sort()).toEqual(['buyerId', 'qty', 'quantity', 'sku', 'x']);
    expect(errors).toContainEqual({ field: 'quantity', why: 'is required' });
    expect(errorsOf(() => new Checked(body).transform(undefined))).toEqual([{ field: 'body', why: 'is required' }]);
  });
});
