import { Injectable, type PipeTransform } from '@nestjs/common';
import type { z } from 'zod';
import { fieldErrors, InvalidRequest } from './problem.js';

/**
 * Validates a part of a request with a zod schema and passes on the parsed value.
 *
 * @example `@Body(new Checked(purchaseBody)) body: PurchaseBody`, `@Query(new Checked(listQuery, 'query')) query: ListQuery`
 */
@Injectable()
export class Checked<S extends z.ZodType> implements PipeTransform<unknown, z.output<S>> {
  constructor(
    private readonly schema: S,
    private readonly place: 'query' | 'path' | '' = '',
  ) {}

  /** @throws InvalidRequest that names each invalid field */
  transform(value: unknown): z.output<S> {
    const checked = this.schema.safeParse(value);
    if (checked.success) return checked.data;
    throw new InvalidRequest(fieldErrors(checked.error, this.place));
  }
}
