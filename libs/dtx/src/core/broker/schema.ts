/** Applies the schemas of contracts, which may come from any library with the Standard Schema interface. */
import { DtxError, OptionsError, textOf } from '../errors/errors.js';
import { type Path, pathText } from './json-loss-check.js';

/**
 * A schema of zod 3.25 or 4, valibot, ArkType or any other library with Standard Schema v1 (https://standardschema.dev).
 * It validates synchronously.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The result of `validate`. It is a failure if it has `issues`. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<StandardIssue> };

/** One invalid field. Libraries state a place as its key, or as an object with the key. */
export interface StandardIssue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

/** The type of the values that a schema returns. */
export type OutputOf<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output'];

/** The result of a schema with its paths in one form. */
export type Applied<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: Issue[] };

interface Issue {
  readonly path: Path;
  readonly message: string;
}

/** A schema answered with a Promise. A payload is read in one step with its row, so the library cannot wait. */
export class AsynchronousSchema extends Error {
  constructor() {
    super('its schema is asynchronous; use one that validates synchronously');
  }
}

/**
 * Checks at the definition that a schema can be used, without running it.
 * @param owner the beginning of the error, such as `message contract invoice.issued: schema`
 * @throws OptionsError if it has no Standard Schema interface, or is always asynchronous
 */
export function mustBeSchema(schema: unknown, owner: string): void {
  const { '~standard': standard, async: isAsync } = (schema ?? {}) as Partial<StandardSchema> & { async?: unknown };
  if (standard?.version !== 1 || typeof standard.validate !== 'function')
    throw new OptionsError(`${owner} is not a Standard Schema v1; use zod >= 3.25, valibot or ArkType`);
  // Valibot marks asynchronous schemas. Others show at their first use.
  if (isAsync === true) throw new OptionsError(`${owner} is asynchronous; use one that validates synchronously`);
}

/**
 * Applies a schema.
 * @throws AsynchronousSchema, or the error of code in the schema (`refine`, `transform`)
 */
export function applySchema<T>(schema: StandardSchema<unknown, T>, value: unknown): Applied<T> {
  const result = schema['~standard'].validate(value);
  if (isThenable(result)) {
    result.then(undefined, () => {}); // its error is found below
    throwErrorOf(schema, value);
    throw new AsynchronousSchema();
  }
  if (!result.issues) return { ok: true, value: result.value };
  // ArkType has a list class of its own, whose copies need its constructor.
  return { ok: false, issues: Array.from(result.issues, (issue) => issueOf(issue, value)) };
}

/**
 * Returns the value of a schema for JSON that it has accepted before.
 * @param misfit the beginning of the error, such as `payload does not fit invoice.issued v1`
 * @throws DtxError if the schema has changed since, or the error of code in the schema
 */
export function acceptedBy<T>(schema: StandardSchema<unknown, T>, json: unknown, misfit: string): T {
  const applied = applySchema(schema, json);
  if (applied.ok) return applied.value;
  const [first] = applied.issues;
  throw new DtxError(`${misfit}: ${pathText(first?.path ?? [])}: ${first?.message ?? 'is refused'}`);
}

/** The problem for an error of `applySchema`. */
export function problemOfSchema(error: unknown): string {
  return error instanceof AsynchronousSchema ? error.message : `its schema throws: ${textOf(error)}`;
}

/** Zod answers with a Promise if code in a schema throws. Its own method throws the error. */
function throwErrorOf(schema: StandardSchema, value: unknown): void {
  const { safeParse } = schema as { safeParse?: (value: unknown) => unknown };
  if (schema['~standard'].vendor !== 'zod' || typeof safeParse !== 'function') return;
  try {
    safeParse.call(schema, value);
  } catch (error) {
    const isAsync = /^(Async|Encountered Promise)/.test(textOf(error)); // zod 3 and zod 4
    if (!isAsync) throw error;
  }
}

function issueOf({ path = [], message }: StandardIssue, value: unknown): Issue {
  const keys = Array.from(path, (place) => (typeof place === 'object' ? place.key : place));
  return { path: keys as (string | number)[], message: withoutContent(message, valueAt(keys, value)) };
}

function valueAt(path: readonly PropertyKey[], value: unknown): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}

/** Valibot and ArkType quote the invalid value. Errors are logged, so they carry no content. */
function withoutContent(message: string, value: unknown): string {
  if (typeof value === 'object' && value !== null) return message.replace(/\{.*\}|\[.*\]/s, 'an object');
  if (typeof value !== 'string') return message;
  const about = `a string of ${value.length} characters`;
  return message.replaceAll(JSON.stringify(value), about).replaceAll(`"${value}"`, about);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
