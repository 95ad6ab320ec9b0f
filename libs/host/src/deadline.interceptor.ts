import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { OutcomeUnknown } from 'nest-dtx';
import { type Observable, throwError, timeout } from 'rxjs';

/** Longer than all waits of one call together that have a bound of their own. */
const ANSWER_WITHIN_MS = 30_000;

/**
 * Answers every call in the end. A call that takes longer goes on without its caller, so what becomes of it is not known
 * then: the same Idempotency-Key finds out.
 */
@Injectable()
export class AnswerDeadline implements NestInterceptor {
  constructor(private readonly withinMs = ANSWER_WITHIN_MS) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'http') return next.handle();
    const late = () => throwError(() => new OutcomeUnknown(`not answered within ${this.withinMs} ms`));
    return next.handle().pipe(timeout({ first: this.withinMs, with: late }));
  }
}
