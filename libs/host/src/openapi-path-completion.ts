/** Completes the paths of an API document: the calls of the library, and what every call with a path parameter answers. */
import { type OpsCall, opsCalls } from 'nest-dtx';
import { problemSchema } from './openapi-problem.js';
import { type Schema, schemaOf } from './openapi-schema.js';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Schema;
  readonly description?: string;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly responses?: Readonly<Record<string, unknown>>;
}

export type Paths = Record<string, Record<string, Operation>>;

/** Answers to a path that never reaches a controller. */
const BAD_PATHS: Readonly<Record<number, string>> = {
  400: 'The path cannot be decoded, or a parameter is invalid',
  414: 'A path parameter is too long',
};

export function completed(paths: Paths): Paths {
  const all = { ...paths };
  for (const call of opsCalls)
    if (all[call.path])
      all[call.path] = { ...all[call.path], [call.method]: operationOf(call, all[call.path]![call.method]) };
  return Object.fromEntries(
    Object.entries(all).map(([path, calls]) => [
      path,
      Object.fromEntries(Object.entries(calls).map(([method, call]) => [method, withPath(path, call)])),
    ]),
  );
}

/** Adds missing path parameters, and the answers to paths that cannot be routed. */
function withPath(path: string, operation: Operation): Operation {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  if (names.length === 0) return operation;
  const { parameters = [], responses = {} } = operation;
  const missing = names.filter((name) => !parameters.some((one) => one.in === 'path' && one.name === name));
  const added = missing.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  return { ...operation, parameters: [...added, ...parameters], responses: { ...problems(BAD_PATHS), ...responses } };
}

function operationOf(call: OpsCall, generated: Operation | undefined): Operation & Schema {
  const { summary, description, query, body, answer } = call;
  const { schema, status, type = 'application/json' } = answer;
  return {
    ...generated,
    tags: ['operations'],
    summary,
    ...(description !== undefined && { description }),
    parameters: [...(query ? queryParameters(schemaOf(query)) : []), ...(call.isAction ? [OPERATOR] : [])],
    ...(body && {
      requestBody: { required: !call.isBodyOptional, content: { 'application/json': { schema: schemaOf(body) } } },
    }),
    responses: {
      [status]: { description: answer.description, content: { [type]: { schema: schemaOf(schema) } } },
      ...problems(call.problems),
    },
    ...(call.isSecured && { security: [{ bearer: [] }] }),
  };
}

const OPERATOR: Parameter = {
  name: 'DTX-Operator',
  in: 'header',
  required: false,
  description: 'Name of the operator, for the record',
  schema: { type: 'string', minLength: 1, maxLength: 64, pattern: '^[ -~]+$' },
};

function queryParameters(schema: Schema): Parameter[] {
  const { properties = {}, required = [] } = schema as { properties?: Record<string, Schema>; required?: string[] };
  return Object.entries(properties).map(([name, one]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema: one,
  }));
}

function problems(descriptions: Readonly<Record<number, string>>): Record<string, unknown> {
  const content = { 'application/problem+json': { schema: problemSchema } };
  return Object.fromEntries(
    Object.entries(descriptions).map(([status, description]) => [status, { description, content }]),
  );
}
