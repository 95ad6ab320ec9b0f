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

type Schema = Record<string, unknown>;

/** Description of an HTTP call. `answers` are statuses with a schema, and `problems` are statuses with problem details. */
export interface CallDescription {
  summary: string;
  description?: string;
  body?: z.ZodType;
  query?: z.ZodObject;
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
  for (const [status, { description, schema }] of Object.entries(answers)) {
    decorators.push(ApiResponse({ status: Number(status), description, ...(schema && { schema: schemaOf(schema) }) }));
  }
  for (const [status, description] of Object.entries(problemsOf(call))) {
    const content = { 'application/problem+json': { schema: problemSchema } };
    decorators.push(ApiResponse({ status: Number(status), description, content }));
  }
  return applyDecorators(...decorators);
}

/** Converts a zod schema to OpenAPI. A schema with a title becomes a component of that name. */
export function schemaOf(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // The pattern repeats `format` or `type`.
      if (jsonSchema.format !== undefined || jsonSchema.type === 'integer') delete jsonSchema.pattern;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  }) as Schema;
}

/** The API document of an app. */
export function documentOf(
  app: INestApplication,
  { title, description }: { title: string; description: string },
): OpenAPIObject {
  const builder = new DocumentBuilder().setTitle(title).setDescription(description).setVersion('1').addBearerAuth();
  const document = SwaggerModule.createDocument(app, builder.build());
  const schemas: Schema = {};
  const paths = withReferences(document.paths, schemas) as typeof document.paths;
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
  if (body) found[415] = 'The body is not application/json';
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

const problemSchema = schemaOf(
  z
    .object({
      type: z.string(),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      instance: z.string().optional(),
      errors: z.array(z.object({ field: z.string(), why: z.string() })).optional(),
      orderId: z.uuid().optional(),
      orderStatus: z.string().optional(),
      reason: z.string().optional(),
    })
    .meta({
      title: 'Problem',
      example: {
        type: 'urn:nest-dtx:invalid-request',
        title: 'Bad Request',
        status: 400,
        detail: 'quantity is required',
        instance: '/orders',
        errors: [{ field: 'quantity', why: 'is required' }],
      },
    }),
);
