import { DtxError, OptionsError, textOf } from '../errors/errors.js';
import { countOption } from '../options.js';
import {
  differenceOf,
  type JsonForm,
  jsonFormOf,
  Misfit,
  pathText,
  protoFieldOf,
  TooManyParts,
} from './json-loss-check.js';
import { type Applied, AsynchronousSchema, applySchema, problemOfSchema, type StandardSchema } from './schema.js';

/** A checked value that can be stored and sent. */
export interface Sendable<T> {
  /** The exact JSON text for the row and the message. */
  readonly json: string;
  /** The value that the schema of the receiver returns. It shares nothing with the given value. */
  readonly value: T;
}

/** The words for a value in errors. */
export interface Subject {
  /** The name of the whole value, such as `payload`. */
  readonly whole: string;
  /** The beginning of each error, such as `payload does not fit invoice.issued v1`. */
  readonly misfit: string;
  /** The option that limits the size, if there is one. */
  readonly option?: 'payloadMaxBytes';
}

/** The words for the payload of a message contract. */
export function payloadOf({ name, version }: { name: string; version: number }): Subject {
  return { whole: 'payload', misfit: `payload does not fit ${name} v${version}`, option: 'payloadMaxBytes' };
}

/**
 * The option `payloadMaxBytes`: the largest value, in bytes of JSON. The maximum fits through every stage with the
 * default settings of the servers. The narrowest stage is a parked message inside a message. Its JSON is a string
 * inside JSON inside an SQL literal, which may need four bytes for one. MariaDB accepts statements of 16 MiB.
 */
export const payloadMaxBytesOption = () => countOption(256 * 1024, 4_000_000);

const PROBLEMS_MAX = 10;
/** Up to this number of parts, a value is serialized completely, so that the error can state its size. */
const PARTS_COUNTED = 250_000;

/**
 * Validates a value and returns it exactly as its receivers will see it. The schema is applied here and, at the
 * receiver, to the JSON. It must therefore leave the JSON of its own result unchanged. `z.coerce.date()` does.
 * `z.date()` and a multiplying `transform` do not. A value without an exact JSON form is rejected. The result shares
 * nothing with `given`, which the caller may change.
 * @param bytesMax the largest JSON, in bytes
 * @throws DtxError that names contract and field, or both sizes
 * @throws OptionsError if the schema is asynchronous
 */
export function checkedJson<T>(
  subject: Subject,
  schema: StandardSchema<unknown, T>,
  given: unknown,
  bytesMax: number,
): Sendable<T> {
  // Each part of a value takes at least one byte of JSON.
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

/** Returns the value that the receiver will see. @throws Misfit if it differs from the sent value */
function arrived<T>(schema: StandardSchema<unknown, T>, json: string, sent: JsonForm, partsMax: number): T {
  const value = parse(schema, JSON.parse(json), 'does not come back from JSON: ');
  const form = jsonFormOf(value, partsMax);
  // Few schemas change the order of fields.
  const changed = JSON.stringify(form) === json ? undefined : differenceOf(sent, form);
  if (!changed) return value;
  const problem = `${changed.one} would arrive as ${changed.other}; the schema must leave its own result unchanged`;
  throw new Misfit(changed.path, problem);
}

/** @throws Misfit at the first invalid field, with the others in its text */
function parse<T>(schema: StandardSchema<unknown, T>, given: unknown, prefix = ''): T {
  const applied = tryToApply(schema, given);
  if (applied.ok) return applied.value;
  const [first, ...others] = applied.issues.slice(0, PROBLEMS_MAX);
  const more = others.map(({ path, message }) => `; ${pathText(path)}: ${message}`).join('');
  throw new Misfit(first?.path ?? [], `${prefix}${first?.message ?? 'is refused'}${more}`);
}

/** The schema itself is unusable. */
class UnusableSchema extends Misfit {}

/** A schema with code (`refine`, `transform`) may throw or be asynchronous. */
function tryToApply<T>(schema: StandardSchema<unknown, T>, given: unknown): Applied<T> {
  try {
    return applySchema(schema, given);
  } catch (error) {
    const type = error instanceof AsynchronousSchema ? UnusableSchema : Misfit;
    throw new type(throwingField(schema, given), problemOfSchema(error));
  }
}

/**
 * Returns the path of the field whose schema throws, as far as the fields of the schema show (`shape` in zod, `entries`
 * in valibot). The depth is bounded because a value may contain itself.
 */
function throwingField(schema: StandardSchema, given: unknown, levels = 8): string[] {
  type Fields = Record<string, StandardSchema>;
  const { shape, entries = shape } = schema as { shape?: Fields; entries?: Fields };
  if (typeof entries !== 'object' || typeof given !== 'object' || given === null || levels === 0) return [];
  for (const [field, inner] of Object.entries(entries)) {
    const value = (given as Record<string, unknown>)[field];
    try {
      applySchema(inner, value);
    } catch {
      return [field, ...throwingField(inner, value, levels - 1)];
    }
  }
  return [];
}

/** @returns OptionsError if no payload can fit, otherwise DtxError */
function refusal({ misfit, whole }: Subject, found: Misfit): DtxError {
  const type = found instanceof UnusableSchema ? OptionsError : DtxError;
  return new type(`${misfit}: ${pathText(found.path, whole)}: ${found.problem}`);
}

function tooLarge({ misfit, option }: Subject, bytes: string, bytesMax: number): DtxError {
  return new DtxError(`${misfit}: ${bytes} bytes, at most ${bytesMax} are allowed${option ? ` (${option})` : ''}`);
}
