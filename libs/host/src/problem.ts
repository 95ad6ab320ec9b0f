/** Maps every error to problem details (RFC 9457). */
import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import { type ErrorAnswer, type ErrorKind, errorAnswerOf } from 'nest-dtx';
import type { z } from 'zod';

/** An invalid field of a request. */
export interface FieldError {
  /** Name of the field, such as `quantity`, `query.limit` or `header.Idempotency-Key`. */
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
  /** Extension members of a problem type. */
  [member: string]: unknown;
}

/** A problem with its headers. */
export interface ProblemAnswer {
  problem: Problem;
  headers: Readonly<Record<string, string>>;
  /** Logged with its stack. */
  unexpected: boolean;
  /** The text of an unavailable dependency. It may name servers and queues, so only the log shows it. */
  withheld?: string;
}

/** Answered 400. The answer names each invalid field and its error. */
export class InvalidRequest extends Error {
  constructor(readonly errors: FieldError[]) {
    super('the request is invalid');
  }
}

/** Answered 404. The path or id does not exist. */
export class NotFound extends Error {}

/** Answered 405. The path exists, and the header `Allow` names its methods. */
export class MethodNotAllowed extends Error {
  constructor(readonly allowed: string[]) {
    super(`method not allowed; this path accepts ${allowed.join(', ')}`);
  }
}

/** Answered 415. The body has a `content-encoding`, which no app decodes. */
export class UnsupportedEncoding extends Error {
  constructor() {
    super('the body has a content-encoding; send it without one');
  }
}

/** Answered 429. The caller has too many calls of this kind at the same time. */
export class TooManyCalls extends Error {}

/** Base of business errors with their own HTTP status. */
export abstract class ProblemError extends Error {
  abstract readonly status: number;
  /** Members of the problem details beside title, status and detail. */
  abstract readonly members: Partial<Problem>;
}

const INVALID_REQUEST = 'urn:nest-dtx:invalid-request';
const RETRY_AFTER_SECONDS = '2';
/** The apps accept an Idempotency-Key for each call with an effect, so a retry is safe. */
const DETAILS: { readonly [Kind in ErrorKind]?: string } = {
  unavailable: 'a required service is unavailable or busy, so nothing was done; retry with the same Idempotency-Key',
  'outcome-unknown':
    'a required service did not answer, so the call may have been carried out; retry with the same Idempotency-Key to find out',
};
const ERRORS_SHOWN_MAX = 20;
const FIELD_CHARS_MAX = 100;

/** Maps an error to its answer. The answer to an unexpected error reveals nothing about it. */
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
  if (error instanceof TooManyCalls) return answer(429, error.message, {}, { 'retry-after': RETRY_AFTER_SECONDS });
  if (error instanceof UnsupportedEncoding) return answer(415, error.message, {}, { 'accept-encoding': 'identity' });
  if (error instanceof ProblemError) return answer(error.status, error.message, error.members);
  const known = errorAnswerOf(error);
  if (known) return ofLibrary(known);
  return httpProblem(error) ?? { ...answer(500, 'internal error; it was logged'), unexpected: true };
}

/** Maps errors of the HTTP layers and of `/dtx`, whose texts are written for the caller. */
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

function ofLibrary({ kind, status, headers, type, detail, reason, withheld }: ErrorAnswer): ProblemAnswer {
  const members = { type, ...(reason !== undefined && { reason }) };
  return { ...answer(status, DETAILS[kind] ?? detail, members, headers), withheld };
}

function answer(
  status: number,
  detail: string,
  members: Partial<Problem> = {},
  headers: Readonly<Record<string, string>> = {},
): ProblemAnswer {
  const problem = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, ...members };
  return { problem, headers, unexpected: false };
}

/** Converts zod issues to field errors. `place` is empty for the body, and otherwise `query`, `path` or `header`. */
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
