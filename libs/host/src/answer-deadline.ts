import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { OutcomeUnknown } from 'nest-dtx';
import type { HttpReply, HttpRequest } from './http-request-reply.js';

/** Longer than the sum of all other time limits of one call, in milliseconds. */
const ANSWER_WITHIN_MS = 30_000;

/** Answers a call with an error. */
export type AnswerError = (error: Error, request: HttpRequest, reply: HttpReply) => void;

/**
 * Answers every call within a time limit. A slower call continues without its caller, so its outcome is unknown. A retry
 * with the same Idempotency-Key finds out. The filter logs the call, which may hang on a dependency. If the process dies
 * here, the caller loses its connection and retries in the same way. An answer that has begun, such as a stream of events, is
 * left alone. A hook of the web framework, since the only interceptor of Nest would make it run each call through observables.
 */
export function answerInTime(adapter: FastifyAdapter, answer: AnswerError, withinMs = ANSWER_WITHIN_MS): void {
  adapter.getInstance().addHook('preHandler', (request, reply, done) => {
    const late = () => {
      if (reply.sent || reply.raw.headersSent) return;
      const text = `${request.method} ${request.routeOptions.url} not answered within ${withinMs} ms; it goes on, and a retry with the same key finds its outcome`;
      answer(new OutcomeUnknown(text), request as HttpRequest, reply as unknown as HttpReply);
    };
    const timer = setTimeout(late, withinMs).unref();
    // Not by `close`, since a caller that has left does not end its call.
    reply.raw.once('finish', () => clearTimeout(timer));
    done();
  });
}
