/** Generates OpenAPI from the schemas that validate the requests, so the document matches the code. */
import { applyDecorators, type INestApplication } from '@nestjs/common';
import {
  ApiBody,
  ApiHeader,
  ApiOperation,
  ApiQuery,
  ApiResponse,
  DocumentBuilder,
  type OpenAPIObject,
  SwaggerModule,
} from '@nestjs/swagger';
import { z } from 'zod';
import { completed, type Paths } from './openapi-path-completion.js';
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

/** The API document of an app. */
export function documentOf(
  app: INestApplication,
  { title, description }: { title: string; description: string },
): OpenAPIObject {
  const builder = new DocumentBuilder().setTitle(title).setDescription(description).setVersion('1').addBearerAuth();
  const document = SwaggerModule.createDocument(app, builder.build());
  const schemas: Schema = {};
  const described = completed(document.paths as Paths);
  const paths = withReferences(described, schemas) as typeof document.paths;
  const components = { ...document.components, schemas: { ...document.components?.schemas, ...schemas } };
  return { ...document, paths, components: components as OpenAPIObject['components'] };
}

/** Replaces each object schema with a title by a reference, and collects the replaced schemas in `schemas`. */
function withReferences(part: unknown, schemas: Schema): unknown {
  if (Array.isArray(part)) return part.map((item) => withReferences(item, schemas));
  if (typeof part !== 'object' || part === null) return part;
  const copy = Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, key === 'example' ? value : withReferences(value, schemas)]),
  );
  if (copy.type !== 'object' || typeof copy.title !== 'string') return copy;
  const { title, ...schema } = copy;
  schemas[title as string] = schema;
  return { $ref: `#/components/schemas/${title}` };
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
