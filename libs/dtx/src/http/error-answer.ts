/** The one rule that maps errors of the library, and of the drivers below it, to HTTP answers. */
import { HttpException } from '@nestjs/common';
import { QueueRefused } from '../core/broker/refusal.js';
import { IdempotencyKeyBusy, IdempotencyKeyReused } from '../core/database/idempotency-keys.js';
import { Rejected } from '../core/errors/errors.js';
import { isOutcomeUnknown, isUnavailable } from '../core/errors/sql-errors.js';

/** What an `ErrorAnswer` says. */
export type ErrorKind = 'rejected' | 'key-busy' | 'key-reused' | 'queue-refused' | 'unavailable' | 'outcome-unknown';

/** An HTTP answer, independent of the web framework and of the shape of the body. */
export interface ErrorAnswer {
  readonly kind: ErrorKind;
  readonly status: number;
  /** Names in lower case. `retry-after` is in seconds. */
  readonly headers: Readonly<Record<string, string>>;
  /** A problem type (RFC 9457). */
  readonly type: string;
  /** Text for the caller. */
  readonly detail: string;
  /** The code of `Rejected`, such as `OUT_OF_STOCK`. */
  readonly reason?: string;
  /** The text of an unavailable dependency. It may name servers and queues, so it belongs only in the log. */
  readonly withheld?: string;
}

const RETRY_AFTER = { 'retry-after': '2' };
const UNAVAILABLE = 'a required service is unavailable or busy, so the step that needs it was not done; retry later';
const UNKNOWN =
  'a required service did not answer, so the call may have been carried out; ask for its outcome before you repeat it';
/** The log of the app names the queue and the missing permission. The caller cannot act on them. */
const REFUSED =
  'the message broker refuses a required queue, so nothing was done; the log of this app names the queue and the reason';

/**
 * Returns the answer to an error of the library or of its database driver, and `null` for any other error, such as that of an
 * HTTP client. An `HttpException` already has its answer.
 *
 * | error | status |
 * | --- | --- |
 * | `Rejected` | 409 with its `reason` |
 * | `Unavailable`, an unreachable or busy database | 503 with `retry-after`: the failed step did nothing |
 * | `OutcomeUnknown`, a lost answer | 503 with `retry-after`: the call may have been carried out |
 * | `QueueRefused` | 503 with `retry-after` |
 * | `IdempotencyKeyBusy`, `IdempotencyKeyReused` | 409 with `retry-after`, 422 |
 *
 * @example
 *   const answer = errorAnswerOf(error);
 *   if (answer) reply.status(answer.status).headers(answer.headers).send({ message: answer.detail });
 */
export function errorAnswerOf(error: unknown): ErrorAnswer | null {
  if (error instanceof HttpException) return null;
  if (error instanceof Rejected) {
    return {
      kind: 'rejected',
      status: 409,
      headers: {},
      type: 'urn:nest-dtx:refused',
      detail: error.message,
      reason: error.reason,
    };
  }
  if (error instanceof IdempotencyKeyBusy) {
    const detail = 'the first call with this Idempotency-Key is still running; retry soon';
    const type = 'urn:nest-dtx:idempotency-key-busy';
    return { kind: 'key-busy', status: 409, headers: { 'retry-after': '1' }, type, detail };
  }
  if (error instanceof IdempotencyKeyReused) {
    const detail = 'this Idempotency-Key was used with another body; use a new key for a new request';
    return { kind: 'key-reused', status: 422, headers: {}, type: 'urn:nest-dtx:idempotency-key-reused', detail };
  }
  if (error instanceof QueueRefused) return unavailable('queue-refused', REFUSED, textOf(error));
  if (!isUnavailable(error)) return null;
  return isOutcomeUnknown(error)
    ? unavailable('outcome-unknown', UNKNOWN, `outcome unknown, ${textOf(error)}`)
    : unavailable('unavailable', UNAVAILABLE, textOf(error));
}

function unavailable(kind: ErrorKind, detail: string, withheld: string): ErrorAnswer {
  return { kind, status: 503, headers: RETRY_AFTER, type: 'urn:nest-dtx:unavailable', detail, withheld };
}

/** An error of a connection to several addresses has a code and no message. */
function textOf(error: unknown): string {
  const { message, code } = error as { message?: string; code?: unknown };
  return message || String(code ?? error);
}
