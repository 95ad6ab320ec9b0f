import { z } from 'zod';

/** An integer in a query string, digits only. Signs, exponents and spaces are refused. */
export function queryNumber(min: number, max: number) {
  const why = `must be a whole number, ${min} to ${max}`;
  return z
    .string(why)
    .regex(/^\d{1,9}$/, why)
    .transform(Number)
    .refine((number) => number >= min && number <= max, why)
    .meta({ type: 'integer', minimum: min, maximum: max });
}
