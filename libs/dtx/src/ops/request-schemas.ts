/** Schemas and validation for the requests to `/dtx`. */
import { BadRequestException } from '@nestjs/common';
import { z } from 'zod';

const word = z.string().regex(/^[A-Za-z-]{1,32}$/, 'expected 1 to 32 letters');
/** A state. A scheme has no underscore. */
const state = z.string().regex(/^[A-Za-z_-]{1,32}$/, 'expected 1 to 32 letters');
const cursor = z.string().regex(/^[A-Za-z0-9_-]{1,300}$/, 'not a cursor of this list');

/** Page size: digits only, as everywhere in the API. 1e1, 0x10 and spaces are refused. */
const limit = z
  .string()
  .regex(/^\d{1,3}$/, 'expected an integer from 1 to 100')
  .transform(Number)
  .pipe(z.int().min(1).max(100));

export const listQuery = z.strictObject({
  scheme: word.optional(),
  state: state.optional(),
  limit: limit.default(20),
  cursor: cursor.optional(),
});
export const alertsQuery = z.strictObject({
  open: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional(),
  limit: limit.default(20),
  cursor: cursor.optional(),
});
export const idParam = z.string().regex(/^[0-9A-Za-z_.:-]{1,160}$/, 'not an id of this list');
/** The header of a stream that is resumed. Any id of another process is valid, and answered with `reset`. */
export const lastEventId = z.string().regex(/^[ -~]{1,64}$/, 'expected 1 to 64 printable ASCII characters');
const note = z.string().trim().min(1).max(1_000);
/**
 * Name of the operator for the record. It is not verified, since all operators share one token. A header is ASCII, so a name
 * beyond it is encoded as `UTF-8''` and percent signs (the ext-value of RFC 8187).
 */
const ENCODED = /^UTF-8''/i;
const operatorHeader = z
  .string()
  .regex(/^[ -~]{1,800}$/, 'expected printable ASCII characters; encode a name beyond them as in RFC 8187')
  .transform((text, context) => {
    if (!ENCODED.test(text)) return text;
    try {
      return decodeURIComponent(text.replace(ENCODED, ''));
    } catch {
      context.addIssue("expected UTF-8'' and a name in percent-encoded UTF-8, such as UTF-8''%E7%8E%8B");
      return z.NEVER;
    }
  })
  .pipe(z.string().regex(/^[^\p{C}]{1,64}$/u, 'expected 1 to 64 characters, without control characters'))
  .optional();
export const retryBody = z.strictObject({ scheme: word, state });
export const retryOneBody = z.strictObject({ note: note.optional() });
const DELAY_MAX_MS = 400 * 86_400_000;
export const rescheduleBody = z.strictObject({ dueInMs: z.int().min(0).max(DELAY_MAX_MS), note: note.optional() });
export const resolveBody = z.strictObject({
  outcome: z.enum(['done', 'reject']),
  note,
});

/** Validates a part of a request. @throws BadRequestException with `errors: [{field, why}]` */
export function check<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({ field: issue.path.join('.') || where, why: issue.message }));
  throw new BadRequestException({ message: errors.map((e) => `${e.field}: ${e.why}`).join('; '), errors });
}

/** The operator named by the header `DTX-Operator`, if any. @throws BadRequestException */
export function operatorOf(operator: unknown): string | undefined {
  const parsed = operatorHeader.safeParse(operator);
  if (parsed.success) return parsed.data;
  const why = parsed.error.issues[0]!.message;
  throw new BadRequestException({
    message: `header.DTX-Operator: ${why}`,
    errors: [{ field: 'header.DTX-Operator', why }],
  });
}
