/** Describes the calls of the library for the API document of an app: `/dtx`, `/health` and `/metrics`. */
import type { OpsCall } from 'nest-dtx';
import { problems } from './openapi-problem.js';
import { type Schema, schemaOf } from './openapi-schema.js';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Schema;
  readonly description?: string;
}

export interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly responses?: Readonly<Record<string, unknown>>;
}

/** The operation of a call of the library. `generated` is what Nest knows of it. */
export function operationOf(call: OpsCall, generated: Operation | undefined): Operation & Schema {
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
  description: "Name of the operator, for the record. A name beyond ASCII is encoded as UTF-8''%E7%8E%8B (RFC 8187)",
  schema: { type: 'string', minLength: 1, maxLength: 800, pattern: "^([ -~]{1,64}|UTF-8''[ -~]+)$" },
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
