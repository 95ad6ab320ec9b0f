import type { IncomingHttpHeaders } from 'node:http';
import { Injectable, type NestMiddleware } from '@nestjs/common';
import { traceparentFrom, withTraceparent } from '../core/trace-and-gid-context.js';

/**
 * Joins the trace of the caller (W3C header `traceparent`) or begins a new one, also for a malformed header. Rows, messages
 * and log lines of the request then carry it. Works with Express and Fastify.
 *
 * @example
 *   export class AppModule implements NestModule {
 *     configure(consumer: MiddlewareConsumer): void {
 *       consumer.apply(TraceparentMiddleware).forRoutes('{*path}');
 *     }
 *   }
 */
@Injectable()
export class TraceparentMiddleware implements NestMiddleware {
  /** Runs the rest of the request under its traceparent. */
  use(request: { readonly headers: IncomingHttpHeaders }, _response: unknown, next: () => void): void {
    withTraceparent(traceparentFrom(request.headers.traceparent), next);
  }
}
