/** Describes the HTTP calls of a controller for the API document, by the schemas that validate the requests. */
import { applyDecorators } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiOperation, ApiQuery, ApiResponse } from '@nestjs/swagger';
import type { z } from 'zod';
import { problemSchema } from './openapi-problem.js';
import { type Schema, schemaOf } from './openapi-schema.js';

/** Description of an HTTP call. `answers` are statuses with a schema, and `problems` are statuses with problem details. */
export interface CallDescription {
  summary: string;
  description?: string;
  body?: z.ZodType;
  query?: z.ZodObject;
  /** Required headers with their meaning. */
  headers?: Readonly<Record<string, string>>;
  idempotent?: boolean;
  answers: Record<number, { description: string; schema?: z.ZodType }>;
  problems?: Record<number, string>;
}

/** Describes an HTTP call for the API document. */
export function Describe(call: CallDescription): MethodDecorator {
  const { summary, description, body, query, answers } = call;
  const decorators: MethodDecorator[] = [ApiOperation({ summary, description })];
  if (body) decorators.push(ApiBody({ schema: schemaOf(body), required: true }));
  if (query) decorators.push(...queryDecorators(query));
  if (call.idempotent) decorators.push(idempotencyHeader());
  for (const [name, meaning] of Object.entries(call.headers ?? {}))
    decorators.push(ApiHeader({ name, required: true, description: meaning, schema: { type: 'string' } }));
  for (const [status, { description, schema }] of Object.entries(answers)) {
    decorators.push(ApiResponse({ status: Number(status), description, ...(schema && { schema: schemaOf(schema) }) }));
  }
  for (const [status, description] of Object.entries(problemsOf(call))) {
    const content = { 'application/problem+json': { schema: problemSchema } };
    decorators.push(ApiResponse({ status: Number(status), description, content }));
  }
  return applyDecorators(...decorators);
}

/** Problems that follow from the kind of request, and the problems of the call itself. */
function problemsOf({ body, query, idempotent, problems }: CallDescription): Record<number, string> {
  const found: Record<number, string> = { 503: 'A required service is unavailable. Retry after Retry-After' };
  if (body || query || idempotent) found[400] = 'The request is invalid. The answer names each field and its error';
  if (body) found[413] = 'The body is too large';
  if (body) found[415] = 'The body is not application/json, or it is encoded';
  if (idempotent) found[409] = 'The first call with this Idempotency-Key is still running';
  if (idempotent) found[422] = 'This Idempotency-Key was used with another body';
  return { ...found, ...problems };
}

function queryDecorators(query: z.ZodObject): MethodDecorator[] {
  const { properties = {}, required = [] } = schemaOf(query) as { properties?: Schema; required?: string[] };
  return Object.entries(properties).map(([name, schema]) =>
    ApiQuery({ name, required: required.includes(name), schema: schema as Schema }),
  );
}

function idempotencyHeader(): MethodDecorator {
  return ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description:
      'The same key with the same body returns the first answer without doing the work again. Kept for 24 h or more.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' },
  });
}
