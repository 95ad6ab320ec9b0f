import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { at, check, inField, refusalOf } from '../../../../../test/fixtures/checked-payload.js';

class Money {
  constructor(readonly cents: number) {}
  toJSON() {
    return { cents: this.cents };
  }
}
class Row {
  affectedRows = 1;
  info = '';
}
const moneyOf = z.preprocess((v) => (v instanceof Money ? v : new Money((v as Money).cents)), z.instanceof(Money));
const pair = [1, 2];
const deep = (levels: number) => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);

describe('a value that arrives as it was validated', () => {
  it.each<[string, z.ZodType, unknown, unknown]>([
    ['plain fields', at(z.any()), inField([1, 'two', null, {}]), inField([1, 'two', null, {}])],
    ['a coerced date', at(z.coerce.date()), inField(new Date(7)), inField(new Date(7))],
    [
      'a date out of text',
      at(z.string().transform((t) => new Date(t))),
      inField('2026-01-02'),
      inField(new Date('2026-01-02')),
    ],
    ['a coerced number', at(z.coerce.number()), inField('5'), inField(5)],
    ['a default', at(z.number().default(7)), inField(undefined), inField(7)],
    ['a drawn default', z.object({ id: z.string().default(() => 'drawn') }), {}, { id: 'drawn' }],
    ['a trimmed text', at(z.string().trim().toLowerCase()), inField('  Ab '), inField('ab')],
    ['an optional field that is undefined', at(z.string().optional()), inField(undefined), { order: {} }],
    ['without what its schema does not know', at(z.number()), { order: { field: 1, more: 2n } }, inField(1)],
    ['an instance that its schema makes again', at(moneyOf), inField(new Money(5)), inField(new Money(5))],
    ['an instance as what its toJSON returns', at(z.any()), inField(new Money(5)), inField({ cents: 5 })],
    ['an instance as its fields', z.any(), new Row(), { affectedRows: 1, info: '' }],
    ['a date as text where no schema makes one', z.any(), new Date(7), '1970-01-01T00:00:00.007Z'],
    ['an object without a prototype', z.any(), Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['one part in two places', z.any(), { a: pair, b: pair }, { a: [1, 2], b: [1, 2] }],
    ['lone surrogates', at(z.string()), inField('\ud800 \udfff'), inField('\ud800 \udfff')],
  ])('is accepted: %s', (_, schema, given, arrives) => {
    const { json, value } = check(schema, given);
    expect(value).toEqual(arrives);
    expect(schema.parse(JSON.parse(Buffer.from(json).toString('utf8')))).toEqual(arrives);
  });
});

const holed = [1, 2, 3];
delete holed[1];
const cyclic: Record<string, unknown> = {};
cyclic.self = [cyclic];
const proto = JSON.parse('{"__proto__":{"isAdmin":true}}');

describe('a value that would arrive as another one', () => {
  it.each<[string, z.ZodType, unknown, RegExp]>([
    ['a multiplying transform', z.number().transform((n) => n * 100), 5, /500 would arrive as 50000; the schema must/],
    [
      'text that becomes a number',
      z.string().transform(Number),
      '5',
      /does not come back from JSON: .*expected string/,
    ],
    ['a growing transform', z.string().transform((t) => `${t}!`), 'a', /a string of 2 characters would arrive as/],
    ['a date', z.date(), new Date(7), /does not come back from JSON: .*expected date/],
    ['an invalid date', z.any(), new Date(Number.NaN), /an invalid Date is not JSON/],
    ['a map', z.map(z.string(), z.number()), new Map([['a', 1]]), /Map is not JSON/],
    ['a set', z.set(z.number()), new Set([1]), /Set is not JSON/],
    ['a map that no schema looks at', z.any(), new Map([['a', 1]]), /Map is not JSON/],
    ['a bigint', z.bigint(), 5n, /a bigint is not JSON/],
    ['NaN', z.any(), Number.NaN, /NaN is not JSON/],
    ['NaN where the schema wants it', z.nan(), Number.NaN, /NaN is not JSON/],
    ['Infinity', z.any(), Number.NEGATIVE_INFINITY, /-Infinity is not JSON/],
    ['-0', z.number(), -0, /-0 is not JSON/],
    ['undefined where nothing else may be', z.array(z.undefined()), [undefined], /\.0: undefined is not JSON/],
    ['a hole in a list', z.any(), holed, /\.1: undefined is not JSON/],
    ['a field of a list', z.any(), Object.assign([1], { extra: 1 }), /\.extra: is a field of a list/],
    ['a function', z.any(), () => {}, /a function is not JSON/],
    ['a symbol', z.any(), Symbol('s'), /a symbol is not JSON/],
    ['a field named by a symbol', z.any(), { [Symbol('s')]: 1 }, /the field Symbol\(s\) is not JSON/],
    ['an error', z.any(), new Error('no'), /Error is not JSON/],
    ['bytes', z.any(), new Uint8Array(2), /Uint8Array is not JSON/],
    ['a promise', z.any(), Promise.resolve(1), /Promise is not JSON/],
    ['a toJSON that throws', z.any(), { toJSON: () => JSON.parse('{') }, /JSON/],
    ['a toJSON that returns nothing', z.any(), { toJSON: () => undefined }, /undefined is not JSON/],
    ['a cycle', z.any(), cyclic, /\.self\.0: contains itself/],
    ['a value nested too deep', z.any(), deep(300), /is nested more than 200 deep/],
    ['the name __proto__', z.any(), proto, /\.__proto__: is not allowed as the name of a field/],
    ['the name __proto__, which records drop', z.record(z.string(), z.any()), proto, /\.__proto__: is not allowed/],
    ['a value of another type', z.number(), 'five', /expected number/],
    ['an asynchronous check', z.string().refine(async () => true), 'a', /its schema is asynchronous/],
    ['a check that throws', z.string().refine((text) => new URL(text)), 'a', /its schema throws: .*URL/],
  ])('is rejected with contract, version and field: %s', (_, schema, given, problem) => {
    const refusal = refusalOf(at(schema), inField(given));
    expect(refusal).toMatch(problem);
    expect(refusal).toContain(': order.field');
    expect(refusalOf(schema, given)).toMatch(/: (payload|\d|[\w.]+): /);
  });

  it('is rejected if its schema follows a cycle', () => {
    const node = z.object({
      get self() {
        return node;
      },
    });
    const round: Record<string, unknown> = {};
    round.self = round;
    expect(refusalOf(node, round)).toMatch(/v3: self: /);
  });

  it('is rejected with every invalid field', () => {
    const schema = z.object({ a: z.number(), b: z.string() });
    expect(refusalOf(schema, {})).toMatch(/v3: a: .*expected number.*; b: .*expected string/);
  });

  it('is rejected with its first ten invalid fields', () => {
    const schema = z.object(Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`field${n}`, z.number()])));
    const refusal = refusalOf(schema, {});
    expect(refusal).toContain('; field9: ');
    expect(refusal).not.toContain('field10');
  });

  it('is rejected if it is undefined', () => {
    expect(refusalOf(z.any(), undefined)).toBe('payload does not fit order.placed v3: payload: undefined is not JSON');
  });

  it('is rejected without the content of its fields, because errors are logged', () => {
    const secret = z.object({ password: z.string().transform((text) => `${text}-hashed`) });
    expect(refusalOf(secret, { password: 'hunter2' })).not.toContain('hunter2');
  });
});
