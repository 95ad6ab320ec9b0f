import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { OutcomeUnknown } from 'nest-dtx';
import { type Observable, throwError, timeout } from 'rxjs';
import type { HttpRequest } from './http-request-reply.js';

/** Longer than the sum of all other time limits of one call, in milliseconds. */
const ANSWER_WITHIN_MS = 30_000;

/**
 * Answers every call within a time limit. A slower call continues without its caller, so its outcome is unknown. A retry
 * with the same Idempotency-Key finds out. The filter logs the call, which may hang on a dependency. If the process dies
 * here, the caller loses its connection and retries in the same way.
 */
@Injectable()
export class AnswerDeadline implements NestInterceptor {
  constructor(private readonly withinMs = ANSWER_WITHIN_MS) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const { method, routeOptions } = context.switchToHttp().getRequest<HttpRequest>();
    const text = `${method} ${routeOptions.url} not answered within ${this.withinMs} ms; it goes on, and a retry with the same key finds its outcome`;
    const late = () => throwError(() => new OutcomeUnknown(text));
    return next.handle().pipe(timeout({ first: this.withinMs, with: late }));
  }
}
