import { z } from 'zod';
import { schemaOf } from './openapi-schema.js';

/** Schema of problem details (RFC 9457), the body of every error answer. */
export const problemSchema = schemaOf(
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

/** Answers with problem details, by status. */
export function problems(descriptions: Readonly<Record<number, string>>): Record<string, unknown> {
  const content = { 'application/problem+json': { schema: problemSchema } };
  return Object.fromEntries(
    Object.entries(descriptions).map(([status, description]) => [status, { description, content }]),
  );
}
