import { createParamDecorator, type ExecutionContext, Injectable, type PipeTransform } from '@nestjs/common';
import { z } from 'zod';
import type { HttpRequest } from './http.js';
import { fieldErrors, InvalidRequest } from './problem.js';

/**
 * Checks a part of a request against a zod schema, and hands on what the schema makes of it.
 *
 * @example `@Body(new Checked(purchaseBody)) body: PurchaseBody`, `@Query(new Checked(listQuery, 'query')) query: ListQuery`
 */
@Injectable()
export class Checked<S extends z.ZodType> implements PipeTransform<unknown, z.output<S>> {
  constructor(
    private readonly schema: S,
    private readonly place: 'query' | 'path' | '' = '',
  ) {}

  /** @throws InvalidRequest, naming each wrong field */
  transform(value: unknown): z.output<S> {
    const checked = this.schema.safeParse(value);
    if (checked.success) return checked.data;
    throw new InvalidRequest(fieldErrors(checked.error, this.place));
  }
}

/** A whole number in a query string. No sign, no exponent, no blanks: `1e3` and ` 7` are mistakes, not numbers. */
export function queryNumber(min: number, max: number) {
  const why = `must be a whole number, ${min} to ${max}`;
  return z
    .string(why)
    .regex(/^\d{1,9}$/, why)
    .transform(Number)
    .refine((number) => number >= min && number <= max, why)
    .meta({ type: 'integer', minimum: min, maximum: max });
}

const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

/** The `Idempotency-Key` header, or undefined. 1 to 255 visible ASCII characters, else 400: it is a key, not a text. */
export const IdempotencyKey = createParamDecorator((_: unknown, context: ExecutionContext): string | undefined => {
  const key = context.switchToHttp().getRequest<HttpRequest>().headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && VISIBLE_ASCII.test(key)) return key;
  throw new InvalidRequest([
    { field: 'header.Idempotency-Key', why: 'must be 1 to 255 visible ASCII characters, and given once' },
  ]);
});
