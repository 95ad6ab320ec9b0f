import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { OutcomeUnknown } from 'nest-dtx';
import { type Observable, throwError, timeout } from 'rxjs';

/** Longer than the sum of all other time limits of one call, in milliseconds. */
const ANSWER_WITHIN_MS = 30_000;

/**
 * Answers every call within a time limit. A slower call continues without its caller, so its outcome is unknown. A retry
 * with the same Idempotency-Key finds out.
 */
@Injectable()
export class AnswerDeadline implements NestInterceptor {
  constructor(private readonly withinMs = ANSWER_WITHIN_MS) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const late = () => throwError(() => new OutcomeUnknown(`call not answered within ${this.withinMs} ms`));
    return next.handle().pipe(timeout({ first: this.withinMs, with: late }));
  }
}
