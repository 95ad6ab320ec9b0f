/**
 * Converts payloads to their exact JSON form and compares two forms. A sender can then reject a value that JSON would
 * change.
 */
import { textOf } from '../errors/errors.js';

/** The path to a field: field names and list indexes. */
export type Path = readonly (string | number)[];

/** The JSON form of a value: a tree that shares nothing with the value. */
export type JsonForm = null | boolean | number | string | JsonForm[] | { [field: string]: JsonForm };

/** A value has no exact JSON form. `problem` describes the fault at `path`. */
export class Misfit extends Error {
  constructor(
    readonly path: Path,
    readonly problem: string,
  ) {
    super(`${pathText(path)}: ${problem}`);
  }
}

/** The maximum nesting depth. Schemas recurse, and the receiver may have less stack left. */
const DEPTH_MAX = 200;

/**
 * Reads the JSON form of a value once. Later changes to the value do not reach the form. A field with `undefined` is
 * omitted. A value with `toJSON` counts as its result. A class instance counts as its fields. Everything else that
 * `JSON.stringify` drops or changes silently is an error:
 * - numbers that are not finite, and -0
 * - bigint, symbols and functions
 * - undefined in a list
 * - Map, Set and other built-in objects
 * - cycles
 * - the field name `__proto__`
 * @param partsMax maximum number of values, lists and objects. Fields may share a part, so few objects can produce an
 *   endless text.
 * @throws Misfit; TooManyParts
 */
export function jsonFormOf(value: unknown, partsMax: number): JsonForm {
  return new Reader(partsMax).read(value);
}

export class TooManyParts extends Error {}

class Reader {
  /** The current path. */
  private readonly path: (string | number)[] = [];
  private readonly above = new Set<object>();
  private parts = 0;

  constructor(private readonly partsMax: number) {}

  read(given: unknown): JsonForm {
    if (++this.parts > this.partsMax) throw new TooManyParts();
    const value = this.standInFor(given);
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
    if (typeof value === 'number') return this.checkedNumber(value);
    if (typeof value === 'object') return this.inside(value);
    throw this.misfit(`${value === undefined ? 'undefined' : `a ${typeof value}`} is not JSON`);
  }

  /** Applies `toJSON` as JSON.stringify does, for objects and bigints. */
  private standInFor(value: unknown): unknown {
    const isAsked = typeof value === 'bigint' || (typeof value === 'object' && value !== null);
    if (!isAsked || typeof (value as { toJSON?: unknown }).toJSON !== 'function') return value;
    const standIn = this.guarded(() =>
      (value as { toJSON(field: string): unknown }).toJSON(String(this.path.at(-1) ?? '')),
    );
    if (value instanceof Date && standIn === null) throw this.misfit('an invalid Date is not JSON');
    return standIn;
  }

  private checkedNumber(value: number): number {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value;
    throw this.misfit(`${Object.is(value, -0) ? '-0' : value} is not JSON`);
  }

  /** Tracks the enclosing objects to detect cycles. */
  private inside(value: object): JsonForm {
    if (this.above.has(value)) throw this.misfit('contains itself');
    if (this.path.length >= DEPTH_MAX) throw new Misfit(this.path.slice(0, 8), `is nested more than ${DEPTH_MAX} deep`);
    this.above.add(value);
    const form = Array.isArray(value) ? this.list(value) : this.fields(value);
    this.above.delete(value);
    return form;
  }

  private list(list: unknown[]): JsonForm[] {
    const form: JsonForm[] = [];
    for (let index = 0; index < list.length; index++) form.push(this.at(index, list[index]));
    const extra = Object.keys(list)[list.length];
    if (extra !== undefined) throw this.misfit('is a field of a list, which is not JSON; use an object', extra);
    return form;
  }

  private fields(value: object): { [field: string]: JsonForm } {
    const tag = Object.prototype.toString.call(value).slice(8, -1);
    if (tag !== 'Object') throw this.misfit(`${tag} is not JSON; use a plain object, a list or a text`);
    const isShown = (symbol: symbol) => Object.prototype.propertyIsEnumerable.call(value, symbol);
    const symbol = Object.getOwnPropertySymbols(value).find(isShown);
    if (symbol) throw this.misfit(`the field ${String(symbol)} is not JSON; remove it or name it with a text`);
    const form: { [field: string]: JsonForm } = {};
    for (const [field, inner] of this.guarded(() => Object.entries(value))) {
      if (field === '__proto__') throw this.misfit('is not allowed as the name of a field; rename it', field);
      if (inner !== undefined) form[field] = this.at(field, inner);
    }
    return form;
  }

  private at(place: string | number, value: unknown): JsonForm {
    this.path.push(place);
    const form = this.read(value);
    this.path.pop();
    return form;
  }

  /** Runs a getter or a toJSON, which may throw any value. */
  private guarded<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      throw this.misfit(textOf(error));
    }
  }

  private misfit(problem: string, ...inside: string[]): Misfit {
    return new Misfit([...this.path, ...inside], problem);
  }
}

/** The first difference of two JSON forms, with both sides as short text. */
export interface Difference {
  readonly path: Path;
  readonly one: string;
  readonly other: string;
}

/** Returns the first difference of two JSON forms, independent of field order. Undefined for equal forms. */
export function differenceOf(one: JsonForm | undefined, other: JsonForm | undefined): Difference | undefined {
  if (one === other) return undefined;
  if (Array.isArray(one) && Array.isArray(other))
    return differenceIn(one.length < other.length ? other : one, one, other);
  if (isFields(one) && isFields(other)) return differenceIn(one, one, other) ?? differenceIn(other, one, other);
  return { path: [], one: shown(one), other: shown(other) };
}

type Inner = { readonly [place: string | number]: JsonForm };

/** Compares the two forms at the places of `places`, which is one of them. */
function differenceIn(places: JsonForm[] | Inner, one: JsonForm[] | Inner, other: JsonForm[] | Inner) {
  const at = (form: JsonForm[] | Inner, place: string) =>
    Object.hasOwn(form, place) ? (form as Inner)[place] : undefined;
  for (const place of Object.keys(places)) {
    const found = differenceOf(at(one, place), at(other, place));
    if (found) return { ...found, path: [place, ...found.path] };
  }
  return undefined;
}

/**
 * Returns the path of a field named `__proto__` in parsed JSON, or undefined. Some schemas drop such a field silently
 * and others pass it on.
 */
export function protoFieldOf(value: unknown): Path | undefined {
  interface Place {
    readonly value: unknown;
    readonly field: string;
    readonly above: Place | undefined;
  }
  const seen = new Set<object>();
  const waiting: Place[] = [{ value, field: '', above: undefined }];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const one = next.value;
    if (typeof one !== 'object' || one === null || seen.has(one) || !isPlain(one)) continue;
    seen.add(one);
    if (Object.hasOwn(one, '__proto__')) {
      const path = ['__proto__'];
      for (let place: Place | undefined = next; place?.above; place = place.above) path.unshift(place.field);
      return path;
    }
    for (const field of Object.keys(one)) waiting.push({ value: (one as Inner)[field], field, above: next });
  }
  return undefined;
}

/** Formats a path for an error. */
export function pathText(path: readonly PropertyKey[], whole = 'the value'): string {
  return path.length === 0 ? whole : path.map(String).join('.');
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === null || prototype === Object.prototype;
}

const isFields = (form: JsonForm | undefined): form is { [field: string]: JsonForm } =>
  typeof form === 'object' && form !== null && !Array.isArray(form);

/** Omits the content of strings, because errors are logged. */
function shown(form: JsonForm | undefined): string {
  if (form === undefined) return 'nothing';
  if (typeof form === 'string') return `a string of ${form.length} characters`;
  if (Array.isArray(form)) return `a list of ${form.length}`;
  return isFields(form) ? 'an object' : String(form);
}
