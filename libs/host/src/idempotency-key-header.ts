import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { HttpRequest } from './http-request-reply.js';
import { InvalidRequest } from './problem.js';

const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

/** The `Idempotency-Key` header, or undefined. Anything but 1 to 255 visible ASCII characters is answered 400. */
export const IdempotencyKey = createParamDecorator((_: unknown, context: ExecutionContext): string | undefined => {
  const key = context.switchToHttp().getRequest<HttpRequest>().headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && VISIBLE_ASCII.test(key)) return key;
  throw new InvalidRequest([
    { field: 'header.Idempotency-Key', why: 'must be 1 to 255 visible ASCII characters, and given once' },
  ]);
});
