/** One call of the operations API as data, and the problems that many calls share. */
import { z } from 'zod';

/** One call of the operations API. Schemas are zod schemas. */
export interface OpsCall {
  readonly method: 'get' | 'post';
  /** Path with `{name}` for a parameter. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** True for calls that need the admin token. */
  readonly isSecured: boolean;
  /** True for calls that accept the header `DTX-Operator`. */
  readonly isAction?: boolean;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly isBodyOptional?: boolean;
  readonly answer: {
    readonly status: number;
    readonly description: string;
    readonly schema: z.ZodType;
    readonly type?: string;
  };
  /** Statuses that are answered with problem details (RFC 9457). */
  readonly problems: Readonly<Record<number, string>>;
}

export const TOKEN = {
  401: 'The admin token is missing or wrong',
  429: 'Too many wrong admin tokens came from this address. Retry after Retry-After',
};
export const INVALID = { 400: 'The request is invalid. The answer names each field and its error' };
export const UNAVAILABLE = { 503: 'The database of this app is unavailable. Retry after Retry-After' };
export const BODY = { 413: 'The body is too large', 415: 'The body is not application/json, or it is encoded' };
export const UNKNOWN_ROW = { 404: 'This app does not know the transaction' };
export const SETTLED = { 409: 'The transaction is already settled, or its scheme has no rejection' };
export const READ = { ...TOKEN, ...INVALID, ...UNAVAILABLE };
export const ACTION = { ...READ, ...BODY };

export const page = <Item extends z.ZodType>(item: Item, title: string) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() }).meta({ title });
