/** Every error of every app as RFC 9457 problem details. */
import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import {
  IdempotencyKeyBusy,
  IdempotencyKeyReused,
  isOutcomeUnknown,
  isUnavailable,
  QueueRefused,
  Rejected,
} from 'nest-dtx';
import type { z } from 'zod';

/** One field of a request that is wrong, and why. */
export interface FieldError {
  /** Like `quantity`, `query.limit` or `header.Idempotency-Key`. */
  field: string;
  why: string;
}

/** The body of every error answer. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string;
  errors?: FieldError[];
  /** Further members, each of one kind of problem. */
  [member: string]: unknown;
}

/** A problem, and the headers that go with it. `unexpected` ones are logged. */
export interface ProblemAnswer {
  problem: Problem;
  headers: Record<string, string>;
  unexpected: boolean;
}

/** The request is wrong: 400, with each field and why. */
export class InvalidRequest extends Error {
  constructor(readonly errors: FieldError[]) {
    super('the request is wrong');
  }
}

/** There is nothing under this path or id: 404. */
export class NotFound extends Error {}

/** The path is right, the method is not: 405, naming the ones that are. */
export class MethodNotAllowed extends Error {
  constructor(readonly allowed: string[]) {
    super(`this path answers ${allowed.join(', ')}`);
  }
}

/** An error of the business with an HTTP answer of its own. */
export abstract class ProblemError extends Error {
  abstract readonly status: number;
  /** Members of the problem details beside title, status and detail. */
  abstract readonly members: Partial<Problem>;
}

const INVALID_REQUEST = 'urn:nest-dtx:invalid-request';
const RETRY_AFTER_SECONDS = '2';
const UNAVAILABLE = 'a required service is unavailable or busy: nothing was done; retry with the same Idempotency-Key';
const UNKNOWN =
  'a required service has not answered: the call may have been carried out; retry with the same Idempotency-Key to find out';
/** Which queue, and which right is missing, is in the log: it is for who runs the app. */
const REFUSED =
  'the message broker refuses what this call needs: nothing was done; the log of this app says what is missing';
const ERRORS_SHOWN_MAX = 20;
const FIELD_CHARS_MAX = 100;

/** What to answer for an error. Never shows what it does not know: an unexpected error says nothing of its inside. */
export function problemOf(error: unknown): ProblemAnswer {
  if (error instanceof InvalidRequest) {
    const errors = error.errors.slice(0, ERRORS_SHOWN_MAX);
    const detail = errors.map(({ field, why }) => `${field} ${why}`).join('; ');
    return answer(400, detail, { type: INVALID_REQUEST, errors });
  }
  if (error instanceof NotFound) return answer(404, error.message);
  if (error instanceof MethodNotAllowed) {
    return answer(405, error.message, {}, { allow: error.allowed.join(', ') });
  }
  if (error instanceof ProblemError) return answer(error.status, error.message, error.members);
  if (error instanceof Rejected) {
    return answer(409, error.message, { type: 'urn:nest-dtx:refused', reason: error.reason });
  }
  if (error instanceof IdempotencyKeyBusy) {
    const detail = 'the first call with this Idempotency-Key is still running: ask again soon';
    return answer(409, detail, { type: 'urn:nest-dtx:idempotency-key-busy' }, { 'retry-after': '1' });
  }
  if (error instanceof IdempotencyKeyReused) {
    const detail = 'this Idempotency-Key was used with another body: use a new key for a new purchase';
    return answer(422, detail, { type: 'urn:nest-dtx:idempotency-key-reused' });
  }
  if (error instanceof QueueRefused)
    return answer(503, REFUSED, { type: 'urn:nest-dtx:unavailable' }, { 'retry-after': RETRY_AFTER_SECONDS });
  if (isUnavailable(error)) {
    const detail = isOutcomeUnknown(error) ? UNKNOWN : UNAVAILABLE;
    return answer(503, detail, { type: 'urn:nest-dtx:unavailable' }, { 'retry-after': RETRY_AFTER_SECONDS });
  }
  return httpProblem(error) ?? { ...answer(500, 'an error on our side; it was logged'), unexpected: true };
}

/** Errors of the HTTP layers and of the library's own calls: their text was written for the caller. */
function httpProblem(error: unknown): ProblemAnswer | undefined {
  if (error instanceof HttpException) {
    const status = error.getStatus();
    if (status === 503) return answer(503, error.message, {}, { 'retry-after': RETRY_AFTER_SECONDS });
    if (status >= 500) return undefined;
    const headers: Record<string, string> = status === 401 ? { 'www-authenticate': 'Bearer' } : {};
    const response = error.getResponse();
    const errors = typeof response === 'object' && 'errors' in response ? (response.errors as FieldError[]) : undefined;
    return answer(status, error.message, errors && { type: INVALID_REQUEST, errors }, headers);
  }
  if (!(error instanceof Error && 'statusCode' in error)) return undefined;
  const status = Number(error.statusCode);
  return status >= 400 && status < 500 ? answer(status, error.message) : undefined;
}

function answer(
  status: number,
  detail: string,
  members: Partial<Problem> = {},
  headers: Record<string, string> = {},
): ProblemAnswer {
  const problem = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, ...members };
  return { problem, headers, unexpected: false };
}

/** What zod found, as fields. `place` is where in the request: nothing for the body, else `query`, `path` or `header`. */
export function fieldErrors(error: z.ZodError, place = ''): FieldError[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ field: fieldName(place, [...issue.path, key]), why: 'is not a known field' }));
    }
    const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
    return [{ field: fieldName(place, issue.path), why: missing ? 'is required' : issue.message }];
  });
}

function fieldName(place: string, path: PropertyKey[]): string {
  const name = [...(place === '' ? [] : [place]), ...path.map(String)].join('.');
  return name === '' ? 'body' : name.slice(0, FIELD_CHARS_MAX);
}
