import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { at, check, inField, refusalOf } from '../../../../../test/fixtures/checked-payload.js';

/** Whether the arrived value equals the given one. Independent of the code under test. */
function isFaithful(given: unknown, arrived: unknown): boolean {
  // An invalid date becomes null on the wire, which is another value.
  if (given instanceof Date) return given.toJSON() === arrived && arrived !== null;
  if (typeof given !== 'object' || given === null) return Object.is(given, arrived) && typeof given !== 'undefined';
  if (typeof arrived !== 'object' || arrived === null) return false;
  if (Object.hasOwn(given, '__proto__')) return false;
  const prototype: unknown = Object.getPrototypeOf(given);
  if (Array.isArray(given)) {
    if (!Array.isArray(arrived) || arrived.length !== given.length || Object.keys(given).length !== given.length)
      return false;
    return given.every((item, index) => isFaithful(item, arrived[index]));
  }
  if (prototype !== Object.prototype && prototype !== null) return false;
  const fields = Object.entries(given).filter(([, value]) => value !== undefined);
  if (fields.length !== Object.keys(arrived).length) return false;
  return fields.every(([field, value]) => isFaithful(value, (arrived as Record<string, unknown>)[field]));
}

const anything = fc.anything({
  key: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', 'toString', '0', '')),
  values: [
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0, Number.NaN, 1e300, 5e-324),
    fc.date({ noInvalidDate: false }),
  ],
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});

describe('any value', () => {
  it('with an exact JSON form arrives unchanged, and any other is rejected', () => {
    let accepted = 0;
    const property = fc.property(anything, (given) => {
      const refusal = refusalOf(z.any(), given);
      let isJson = false;
      try {
        isJson = isFaithful(given, JSON.parse(JSON.stringify(given)));
      } catch {}
      expect(refusal === undefined, refusal).toBe(isJson);
      if (refusal !== undefined) return;
      accepted += 1;
      expect(isFaithful(given, JSON.parse(check(z.any(), given).json))).toBe(true);
    });
    fc.assert(property, { numRuns: 2_000 });
    expect(accepted).toBeGreaterThan(200);
  });

  const schemas = {
    number: z.number(),
    cents: z.number().transform((n) => Math.round(n * 100)),
    rounded: z.number().transform(Math.round),
    absolute: z.number().transform(Math.abs),
    text: z.string(),
    upper: z.string().toUpperCase(),
    parsed: z.string().transform(Number),
    coerced: z.coerce.number(),
    day: z.coerce.date(),
    date: z.date(),
    flag: z.coerce.boolean(),
    list: z.array(z.coerce.string()),
    record: z.record(z.string(), z.number()),
    sum: z.union([z.array(z.number()).transform((all) => all.reduce((sum, n) => sum + n, 0)), z.number()]),
    map: z.map(z.string(), z.number()),
    fallback: z.number().catch(0),
  };
  const given = fc.oneof(
    anything,
    fc.double(),
    fc.string(),
    fc.date(),
    fc.array(fc.integer()),
    fc.dictionary(fc.string(), fc.double()),
  );

  it.each(Object.entries(schemas))('reaches its receiver unchanged or is rejected: %s', (_, schema) => {
    const property = fc.property(given, (field) => {
      if (refusalOf(at(schema), inField(field)) !== undefined) return;
      const { json, value } = check(at(schema), inField(field));
      const arrived = at(schema).parse(JSON.parse(json));
      expect(arrived).toEqual(at(schema).parse(inField(field)));
      expect(arrived).toEqual(value);
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('can be changed by the caller without an effect on JSON and result', () => {
    const property = fc.property(fc.dictionary(fc.string(), fc.array(fc.jsonValue(), { minLength: 1 })), (fields) => {
      fc.pre(!Object.hasOwn(fields, '__proto__') && refusalOf(z.any(), fields) === undefined);
      const before = structuredClone(fields);
      const { json, value } = check(z.any(), fields);
      for (const field of Object.keys(fields)) fields[field]!.splice(0, 1, 'changed', 'since');
      expect([JSON.parse(json), value]).toEqual([before, before]);
    });
    fc.assert(property);
  });

  it('is measured in bytes of JSON and rejected with both numbers', () => {
    const property = fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      const bytes = Buffer.byteLength(JSON.stringify({ text }));
      const schema = z.object({ text: z.string() });
      expect(refusalOf(schema, { text }, bytes)).toBeUndefined();
      const refusal = `${bytes} bytes, at most ${bytes - 1} are allowed (payloadMaxBytes)`;
      expect(refusalOf(schema, { text }, bytes - 1)).toBe(`payload does not fit order.placed v3: ${refusal}`);
    });
    fc.assert(property);
  });

  it('that is far too large is rejected before it is serialized', () => {
    let doubled: unknown = 'x';
    for (let times = 0; times < 40; times++) doubled = [doubled, doubled];
    expect(refusalOf(z.any(), doubled)).toMatch(/v3: more than 262144 bytes, at most 262144 are allowed/);
  });
});
