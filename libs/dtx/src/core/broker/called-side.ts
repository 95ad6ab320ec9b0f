// The called side of a call over RabbitMQ, see `RemoteCalls`: every call is answered, then acknowledged. If the process dies
// before the ack, the broker delivers the call again, so each call must be idempotent.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@nestjs/common';
import { Semaphore } from '../async/semaphore.js';
import { OutcomeUnknown } from '../errors/errors.js';
import { withTraceAndGid } from '../trace-and-gid-context.js';
import type { Delivery } from './consumed-queue.js';
import { fromProperties } from './envelope.js';
import { type Addressed, type Caller, parseJson } from './remote-calls.js';

/** A call found no free place within its time limit. It was not begun. */
export class NoFreePlace extends OutcomeUnknown {}

/** The bound of `prefetch` for calls that come from this process and not from the queue. */
export function placesOf(what: string, prefetch: number): Semaphore {
  return new Semaphore(prefetch, (ms) => new NoFreePlace(`${what} was not begun: no free place within ${ms} ms`));
}

/** The calls of one queue. */
export interface Called<Call extends Addressed, Verdict extends { readonly verdict: string }> {
  /** The name in logs. */
  readonly name: string;
  readonly body: Schema<Call>;
  /** Whether calls are answered to this queue. */
  readonly isAnswerQueue: (queue: string) => boolean;
  /** Carries out a call. Every error is an answer. */
  readonly take: (call: Call, replyTo: string | undefined) => Promise<Verdict>;
  readonly answer: (to: Caller, answer: Verdict & { readonly callId: string }) => Promise<void>;
  /** Why the database of this app takes no writes. An empty text if it does. */
  readonly writeProblem: () => Promise<string>;
  /** Whether `away` is the answer to this call, although the database may come back. Default: it is not. */
  readonly mayBeAway?: (call: Call) => boolean;
  /** The wait in milliseconds before a call tries the database again. */
  readonly retryMs: number;
  readonly logger: Logger;
}

interface Schema<Call> {
  safeParse(
    json: unknown,
  ): { success: true; data: Call } | { success: false; error: { issues: ReadonlyArray<{ message: string }> } };
}

/** Handles one delivery up to its ack. A message that is not a call has no answer. @throws when the delivery is lost */
export async function receiveCall<Call extends Addressed, Verdict extends { readonly verdict: string }>(
  delivery: Delivery,
  called: Called<Call, Verdict>,
): Promise<void> {
  const call = called.body.safeParse(parseJson(delivery.message.content));
  if (call.success) {
    const { replyTo, traceparent } = fromProperties(delivery.message.properties);
    const { callId, gid, takesSeveral = false } = call.data;
    const take = () => called.take(call.data, replyTo);
    const verdict = await withTraceAndGid({ traceparent, gid }, () =>
      untilReached(take, call.data, called, delivery.lost),
    );
    if (replyTo && called.isAnswerQueue(replyTo))
      await called.answer({ queue: replyTo, takesSeveral }, { callId, ...verdict });
  } else {
    const [issue] = call.error.issues;
    called.logger.warn(`discarded an invalid call of ${called.name}, without an answer: ${issue?.message}`);
  }
  delivery.ack();
}

/** `away` cancels or delays the caller, so a call waits for the database of this app. @throws when the delivery is lost */
async function untilReached<Call extends Addressed, Verdict extends { readonly verdict: string }>(
  take: () => Promise<Verdict>,
  call: Call,
  { writeProblem, mayBeAway, retryMs }: Called<Call, Verdict>,
  lost: AbortSignal,
): Promise<Verdict> {
  for (;;) {
    const verdict = await take();
    if (verdict.verdict !== 'away' || mayBeAway?.(call) || !(await writeProblem())) return verdict;
    await sleep(retryMs, undefined, { signal: lost });
  }
}
