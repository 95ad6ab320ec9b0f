import type { ConsumeMessage } from 'amqplib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Contract, defineMessage } from '../broker/message-contract.js';
import { idFloor, newId } from '../ids.js';
import { type Incoming, incomingOf, read } from './incoming-message.js';

const CONSUMER = 'inventory.take-stock';
const DAY_MS = 86_400_000;
const now = Date.parse('2026-11-23T12:00:00Z');
const limits = { nowMs: now, retentionMs: 8 * DAY_MS };
const contract = defineMessage({
  name: 'order.placed',
  version: 1,
  schema: z.object({ orderId: z.string(), quantity: z.int().min(1) }),
  consumers: [CONSUMER],
  gid: (payload) => payload.orderId,
}) as unknown as Contract;
const payload = { orderId: 'order-7', quantity: 2 };

function message(body: string | Uint8Array, properties: Record<string, unknown> = {}): ConsumeMessage {
  return { content: Buffer.from(body as string), properties, fields: {} } as unknown as ConsumeMessage;
}
const sent = (body: string | Uint8Array = JSON.stringify(payload), more: Record<string, unknown> = {}) =>
  incomingOf(message(body, { messageId: newId(now), type: 'order.placed.v1', ...more }), CONSUMER);
const problemOf = (...given: Parameters<typeof sent>) => {
  const result = read(sent(...given), contract, limits);
  return result.ok ? 'none' : result.problem;
};

describe('a delivery', () => {
  it('is identified by its message id and its consumer', () => {
    const headers = { 'dtx-scheme': 'local-message', traceparent: '00-x-y-01' };
    const more = { messageId: 'm-1', correlationId: 'order-7', replyTo: 'dtx.order.receipts.v1', headers };
    expect(sent('{}', more)).toMatchObject({
      id: 'm-1.inventory.take-stock',
      info: { messageId: 'm-1', consumer: CONSUMER, gid: 'order-7', scheme: 'local-message', traceparent: '00-x-y-01' },
      type: 'order.placed.v1',
      replyTo: 'dtx.order.receipts.v1',
    });
  });

  it('without an id gets a digest of its content, so that its redelivery is a duplicate', () => {
    const [first, again, other] = ['a', 'a', 'b'].map((body) => incomingOf(message(body), CONSUMER).id);
    expect(first).toBe(again);
    expect(first).not.toBe(other);
  });

  it.each(['orders', 'dtx.order.confirm.v1', 'dtx.order.receipts.v1x', 'dtx..receipts.v1', 'amq.rabbitmq.reply-to'])(
    'cannot make its receiver publish to %j',
    (replyTo) => expect(sent('{}', { replyTo }).replyTo).toBeNull(),
  );

  it('of any content is read under an id that fits its column and /dtx/transactions/{id}', () => {
    const text = fc.oneof(fc.string({ maxLength: 70 }), fc.stringMatching(/^[!-~]{1,70}$/), fc.anything());
    const headers = fc.dictionary(fc.constantFrom('dtx-scheme', 'traceparent'), text);
    const properties = fc.record({ messageId: text, type: text, correlationId: text, replyTo: text, headers });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), properties, (body, given) => {
        const incoming = incomingOf(message(body, given), CONSUMER);
        expect(incoming.id).toMatch(/^[0-9A-Za-z_.:-]{1,140}$/);
        read(incoming, contract, limits); // does not throw
      }),
    );
  });
});

/** The payload for the handler, or the reason why there is none. */
const given = (incoming: Incoming, of: Contract = contract) => {
  const result = read(incoming, of, limits);
  return result.ok ? result.payload() : result.problem;
};

describe('reading a delivery', () => {
  it('returns the payload as parsed by its schema', () => {
    expect(given(sent())).toEqual(payload);
    const future = sent(JSON.stringify({ ...payload, since: 'a later version' }));
    expect(given(future)).toEqual(payload);
  });

  it('returns a separate payload to each reader', () => {
    const open = { ...contract, schema: z.any() } as unknown as Contract;
    const result = read(sent('{"deep":{"list":[1,2]}}'), open, limits);
    if (!result.ok) throw new Error(result.problem);
    const first = result.payload() as { deep: { list?: unknown } };
    delete first.deep.list;
    expect(result.payload()).toEqual({ deep: { list: [1, 2] } });
    expect(result.payload()).not.toBe(result.payload());
  });

  it('applies the schema once for each reader', () => {
    const schema = z.object({ amount: z.number().transform((n) => n * 100) });
    const twice = { ...contract, schema } as unknown as Contract;
    const result = read(sent('{"amount":5}'), twice, limits);
    if (!result.ok) throw new Error(result.problem);
    expect([result.payload(), result.payload()]).toEqual([{ amount: 500 }, { amount: 500 }]);
  });

  it.each<[string, Parameters<typeof sent>, RegExp]>([
    ['no type', [undefined, { type: undefined }], /expected a message of type order\.placed\.v1, got none/],
    ['another type', [undefined, { type: 'stock.taken.v1' }], /order\.placed\.v1, got stock\.taken\.v1/],
    ['another version', [undefined, { type: 'order.placed.v2' }], /order\.placed\.v1, got order\.placed\.v2/],
    ['no id', [undefined, { messageId: undefined }], /^no valid message id/],
    ['an id that cannot be one', [undefined, { messageId: 'a b' }], /^no valid message id/],
    ['nothing', [''], /^not JSON: /],
    ['no JSON', ['{"orderId":'], /^not JSON: /],
    ['bytes that are not UTF-8', [new Uint8Array([0xff, 0x00, 0xfe])], /^not JSON: /],
    ['null', ['null'], /^does not fit order\.placed\.v1: body: /],
    ['an array', ['[]'], /^does not fit order\.placed\.v1: body: /],
    ['a wrong field', ['{"orderId":"7","quantity":0}'], /^does not fit order\.placed\.v1: quantity: /],
    ['deep nesting', [`${'['.repeat(100_000)}${']'.repeat(100_000)}`], /^(not JSON|does not fit)/],
  ])('reports the problem of %s', (_, given, problem) => {
    expect(problemOf(...given)).toMatch(problem);
    expect(problemOf(...given).length).toBeLessThan(1_000);
  });

  it.each<[string, (orderId: string) => unknown, RegExp]>([
    ['throws', () => new URL('no URL'), /its schema throws: .*URL/],
    ['is asynchronous', async () => true, /its schema is asynchronous/],
  ])('reports the problem if the schema %s', (_, refine, problem) => {
    const schema = z.object({ orderId: z.string().refine(refine as () => boolean) });
    const result = read(sent(), { ...contract, schema } as unknown as Contract, limits);
    expect(result).toEqual({ ok: false, problem: expect.stringMatching(problem) });
  });

  it('refuses a message that is older than the memory of the inbox, since handling might repeat it', () => {
    const madeAt = (ms: number) => problemOf(undefined, { headers: { 'dtx-made-at': String(ms) } });
    expect(madeAt(now - 9 * DAY_MS)).toMatch(/older than inbox\.retentionMs/);
    expect(madeAt(now - 8 * DAY_MS)).toBe('none');
    expect(madeAt(now + DAY_MS)).toBe('none'); // another server's clock
  });

  it('allows the clocks of two database servers to differ by ten minutes', () => {
    const madeAt = (ms: number) => problemOf(undefined, { headers: { 'dtx-made-at': String(ms) } });
    expect(madeAt(now - 8 * DAY_MS - 600_000)).toBe('none');
    expect(madeAt(now - 8 * DAY_MS - 600_001)).toMatch(/older than inbox\.retentionMs/);
  });

  it('takes its age from the time of its sender’s database, whatever its id says', () => {
    const of = (messageId: string, madeAtMs: number) =>
      problemOf(undefined, { messageId, headers: { 'dtx-made-at': String(madeAtMs) } });
    for (const id of ['42', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', newId(now), idFloor(now - 30 * DAY_MS)]) {
      expect(of(id, now)).toBe('none');
      expect(of(id, now - 9 * DAY_MS)).toMatch(/older than inbox\.retentionMs/);
    }
  });

  it('takes the age from the id if the header is missing', () => {
    const made = (ms: number) => problemOf(undefined, { messageId: idFloor(ms) });
    expect(made(now - 9 * DAY_MS)).toMatch(/older than inbox\.retentionMs/);
    expect(made(now - 7 * DAY_MS)).toBe('none');
  });

  it.each([undefined, 'yesterday', '-1', '1e3', '', 1_700_000_000_000, {}])(
    'is handed on if its age is unknown: header %j and an id without a time',
    (header) => expect(problemOf(undefined, { messageId: '42', headers: { 'dtx-made-at': header } })).toBe('none'),
  );

  it('returns any valid payload unchanged', () => {
    const fitting = fc.record({ orderId: fc.string({ unit: 'grapheme' }), quantity: fc.integer({ min: 1, max: 1e9 }) });
    fc.assert(
      fc.property(fitting, (fits) => {
        expect(given(sent(JSON.stringify(fits)))).toEqual(fits);
      }),
    );
  });
});
