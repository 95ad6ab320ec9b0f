import type { z } from 'zod';
import { DtxError, textOf } from '../errors/errors.js';
import { countOption } from '../options.js';
import {
  differenceOf,
  type JsonForm,
  jsonFormOf,
  Misfit,
  type Path,
  pathText,
  protoFieldOf,
  TooManyParts,
} from './json-form.js';

/** A value that was checked and may be stored and sent. */
export interface Sendable<T> {
  /** The very text for the row and the wire. */
  readonly json: string;
  /** What the receiver's schema makes of it. Shares nothing with the value that was given. */
  readonly value: T;
}

/** How errors speak of a value. */
export interface Subject {
  /** The value itself, where no field of it is to blame: `payload`. */
  readonly whole: string;
  /** `payload does not fit invoice.issued v1` */
  readonly misfit: string;
  /** The option that limits its size, if one does. */
  readonly option?: 'payloadMaxBytes';
}

/** How errors speak of the payload of a message contract. */
export function payloadOf({ name, version }: { name: string; version: number }): Subject {
  return { whole: 'payload', misfit: `payload does not fit ${name} v${version}`, option: 'payloadMaxBytes' };
}

/**
 * The option `payloadMaxBytes`: the largest value, in bytes of JSON. Its ceiling is what every place on the way takes
 * with the servers' defaults. The narrowest is a message inside a message that is parked: its JSON stands as a string inside JSON inside an
 * SQL literal, which may take four bytes for one, and MariaDB takes statements of 16 MiB.
 */
export const payloadMaxBytesOption = () => countOption(256 * 1024, 4_000_000);

const PROBLEMS_MAX = 10;
/** Up to so many parts a value is written out, so that the error can tell its size. */
const PARTS_COUNTED = 250_000;

/**
 * The one way of a value to those who receive it: what is validated is what is sent is what arrives. The schema is
 * applied here, and once more at the receiver, to the JSON. So a schema must leave the JSON of its own result as it is:
 * `z.coerce.date()` does, `z.date()` and a `transform` that multiplies do not. Whatever JSON cannot say is refused.
 * The result shares nothing with `given`, which the caller may change at once.
 * @param bytesMax the largest JSON, in bytes
 * @throws DtxError that names contract and field, or both sizes
 */
export function checkedJson<T>(subject: Subject, schema: z.ZodType<T>, given: unknown, bytesMax: number): Sendable<T> {
  // Each part of a value takes a byte of JSON at the least.
  const partsMax = Math.max(bytesMax, PARTS_COUNTED);
  try {
    const hidden = protoFieldOf(given);
    if (hidden) throw new Misfit(hidden, 'is not allowed as the name of a field');
    const sent = jsonFormOf(parse(schema, given), partsMax);
    const json = JSON.stringify(sent);
    const bytes = Buffer.byteLength(json);
    if (bytes > bytesMax) throw tooLarge(subject, `${bytes}`, bytesMax);
    return { json, value: arrived(schema, json, sent, partsMax) };
  } catch (error) {
    if (error instanceof DtxError) throw error;
    if (error instanceof TooManyParts) throw tooLarge(subject, `more than ${partsMax}`, bytesMax);
    throw refusal(subject, error instanceof Misfit ? error : new Misfit([], textOf(error)));
  }
}

/** What the receiver will see. @throws Misfit where that is not what was sent */
function arrived<T>(schema: z.ZodType<T>, json: string, sent: JsonForm, partsMax: number): T {
  const value = parse(schema, JSON.parse(json), 'does not come back from JSON: ');
  const form = jsonFormOf(value, partsMax);
  // Fields come back in another order from few schemas only.
  const changed = JSON.stringify(form) === json ? undefined : differenceOf(sent, form);
  if (!changed) return value;
  const problem = `${changed.one} would arrive as ${changed.other}: the schema must leave its own result as it is`;
  throw new Misfit(changed.path, problem);
}

/** @throws Misfit at the first field that does not fit, with the others in its text */
function parse<T>(schema: z.ZodType<T>, given: unknown, prefix = ''): T {
  const parsed = tryParse(schema, given);
  if (parsed.success) return parsed.data;
  const [first, ...others] = parsed.error.issues.slice(0, PROBLEMS_MAX);
  const more = others.map(({ path, message }) => `; ${pathText(path)}: ${message}`).join('');
  throw new Misfit((first?.path ?? []) as Path, `${prefix}${first?.message ?? 'is refused'}${more}`);
}

/** A schema with code in it (`refine`, `transform`) may throw, or be asynchronous. */
function tryParse<T>(schema: z.ZodType<T>, given: unknown): z.ZodSafeParseResult<T> {
  try {
    return schema.safeParse(given);
  } catch (error) {
    throw new Misfit(throwingField(schema, given), `its schema throws: ${textOf(error)}`);
  }
}

/** The field whose own schema throws, as far as the schema's shape tells. A value may contain itself. */
function throwingField(schema: z.ZodType, given: unknown, levels = 8): string[] {
  const { shape } = schema as { shape?: Record<string, z.ZodType> };
  if (!shape || typeof given !== 'object' || given === null || levels === 0) return [];
  for (const [field, inner] of Object.entries(shape)) {
    const value = (given as Record<string, unknown>)[field];
    try {
      inner.safeParse(value);
    } catch {
      return [field, ...throwingField(inner, value, levels - 1)];
    }
  }
  return [];
}

function refusal({ misfit, whole }: Subject, { path, problem }: Misfit): DtxError {
  return new DtxError(`${misfit}: ${pathText(path, whole)}: ${problem}`);
}

function tooLarge({ misfit, option }: Subject, bytes: string, bytesMax: number): DtxError {
  return new DtxError(`${misfit}: ${bytes} bytes, at most ${bytesMax} are allowed${option ? ` (${option})` : ''}`);
}
