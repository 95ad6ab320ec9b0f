import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import * as mini from 'zod/mini';
import * as z3 from 'zod/v3';
import { read } from '../consumer/incoming-message.js';
import { OptionsError } from '../errors/errors.js';
import { defineMessage, type MessageOf } from './message-contract.js';
import { checkedJson, payloadOf } from './outgoing-payload.js';
import type { StandardIssue, StandardResult, StandardSchema } from './schema.js';

interface Placed {
  readonly orderId: string;
  readonly at: Date;
}

type Validate<Output> = (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;

/** A schema with nothing but the standard interface. */
function schemaOf<Output>(validate: Validate<Output>): StandardSchema<unknown, Output> {
  return { '~standard': { version: 1, vendor: 'made-by-hand', validate } };
}

/** A list class as in ArkType. A copy by `slice` or `map` would call its constructor without a context. */
class Issues extends Array<StandardIssue> {
  constructor(context: { readonly found: StandardIssue[] }) {
    super();
    this.push(...context.found);
  }
}

/** Strips unknown fields, and makes a Date out of the text that a Date becomes in JSON. */
const validatePlaced: Validate<Placed> = (value) => {
  const { orderId, at } = (value ?? {}) as Record<string, unknown>;
  const date = new Date(at as string | Date);
  const found: StandardIssue[] = [];
  // As in valibot: a place is an object, and the message quotes the value.
  const path = [{ key: 'order', type: 'object' }, { key: 'at' }];
  if (typeof orderId !== 'string') found.push({ message: 'Expected string', path: ['orderId'] });
  if (Number.isNaN(date.valueOf())) found.push({ message: `Received "${at}"`, path: path.slice(1) });
  return found.length > 0 ? { issues: new Issues({ found }) } : { value: { orderId: orderId as string, at: date } };
};

const placed: Record<string, StandardSchema<unknown, Placed>> = {
  'by hand': schemaOf(validatePlaced),
  'a function as in ArkType': Object.assign(() => {}, schemaOf(validatePlaced)),
  'zod 4': z.object({ orderId: z.string(), at: z.coerce.date() }),
  'zod 4 mini': mini.object({ orderId: mini.string(), at: mini.coerce.date() }),
  'zod 3': z3.object({ orderId: z3.string(), at: z3.coerce.date() }),
};

let versions = 0;
const define = <S extends StandardSchema>(schema: S) =>
  defineMessage({ name: 'order.placed', version: ++versions, schema, consumers: ['stock.take'], gid: () => 'a' });
const send = (schema: StandardSchema, given: unknown) =>
  checkedJson(payloadOf({ name: 'order.placed', version: 3 }), schema, given, 1_000);

function receive(schema: StandardSchema, json: unknown) {
  const contract = define(schema);
  const info = { messageId: 'm', consumer: 'stock.take', gid: null, scheme: 'unknown', traceparent: null };
  const message = { id: 'm.stock.take', isNamed: true, info, replyTo: null, madeAtMs: undefined };
  const type = `order.placed.v${contract.version}`;
  return read({ ...message, type, body: Buffer.from(JSON.stringify(json)) }, contract, { nowMs: 0, retentionMs: 1 });
}

describe.each(Object.entries(placed))('a contract with a schema of %s', (_, schema) => {
  it('infers the type of its messages', () => {
    const contract = define(schema);
    expectTypeOf<MessageOf<typeof contract>>().toEqualTypeOf<Placed>();
    expect(contract.schema).toBe(schema);
  });

  it('is applied at the sender and to the JSON at the receiver', () => {
    const { json, value } = send(schema, { orderId: '7', at: new Date(7), more: true });
    expect(json).toBe('{"orderId":"7","at":"1970-01-01T00:00:00.007Z"}');
    expect(value).toEqual({ orderId: '7', at: new Date(7) });
    const arrived = receive(schema, JSON.parse(json));
    expect(arrived.ok && [arrived.payload(), arrived.payload()]).toEqual([value, value]);
  });

  it('names each invalid field of a payload without its content', () => {
    const text = 'hunter2"\n';
    expect(() => send(schema, { at: text })).toThrow(/^payload does not fit order\.placed v3: orderId: .*; at: /s);
    expect(() => send(schema, { at: text })).not.toThrow(/hunter2/);
    const arrived = receive(schema, { at: text });
    expect(arrived.ok ? '' : arrived.problem).toMatch(/^does not fit order\.placed\.v\d+: orderId: .*; at: /s);
    expect(arrived.ok ? '' : arrived.problem).not.toMatch(/hunter2/);
  });
});

it('an invalid object is not quoted in the error, as ArkType does', () => {
  const schema = schemaOf(() => ({ issues: [{ message: 'must be "a" (was {"secret":"hunter2"})' }] }));
  expect(() => send(schema, { secret: 'hunter2' })).toThrow('payload: must be "a" (was an object)');
});

describe('a schema that changes its own result', () => {
  it.each<[string, StandardSchema]>([
    ['by hand', schemaOf((value) => ({ value: (value as number) * 100 }))],
    ['zod 4', z.number().transform((n) => n * 100)],
    [
      'zod 4 mini',
      mini.pipe(
        mini.number(),
        mini.transform((n: number) => n * 100),
      ),
    ],
    ['zod 3', z3.number().transform((n) => n * 100)],
  ])('is refused at the sender: %s', (_, schema) => {
    expect(() => send(schema, 5)).toThrow(/500 would arrive as 50000; the schema must leave its own result unchanged/);
  });
});

describe('an asynchronous schema', () => {
  const asynchronous: Array<[string, StandardSchema]> = [
    ['by hand', schemaOf(async (value) => ({ value }))],
    ['by hand, with an error', schemaOf(() => Promise.reject(new Error('no')))],
    ['zod 4', z.string().refine(async () => true)],
    ['zod 4 mini', mini.string().check(mini.refine(async () => true))],
    ['zod 3', z3.string().refine(async () => true)],
  ];

  it.each(asynchronous)('is refused at its first use at the sender: %s', (_, schema) => {
    const refused = expect(() => send(schema, 'a'));
    refused.toThrow(OptionsError);
    expect(() => send(schema, 'a')).toThrow(
      'payload does not fit order.placed v3: payload: its schema is asynchronous; use one that validates synchronously',
    );
  });

  it.each(asynchronous)('makes a delivery invalid at the receiver: %s', (_, schema) => {
    const arrived = receive(schema, 'a');
    expect(arrived.ok ? '' : arrived.problem).toMatch(
      /its schema is asynchronous; use one that validates synchronously$/,
    );
  });

  it('is refused with the path of its field', () => {
    const schema = z.object({ order: z.object({ id: z.string().refine(async () => true) }) });
    expect(() => send(schema, { order: { id: 'a' } })).toThrow(/: order\.id: its schema is asynchronous/);
  });

  it('is refused at the definition if it says so, as in valibot', () => {
    const schema = Object.assign(
      schemaOf(async (value) => ({ value })),
      { async: true },
    );
    expect(() => define(schema)).toThrow(
      'message contract order.placed: schema is asynchronous; use one that validates synchronously',
    );
  });
});

it.each([
  undefined,
  {},
  { '~standard': {} },
  { parse: () => 1 },
  { '~standard': { version: 1 } },
  { '~standard': { version: 2, validate: () => 1 } },
])('a definition with the schema %j is refused', (schema) => {
  const refused = expect(() => define(schema as unknown as StandardSchema));
  refused.toThrow(
    'message contract order.placed: schema is not a Standard Schema v1; use zod >= 3.25, valibot or ArkType',
  );
});
