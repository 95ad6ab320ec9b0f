import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { AppWithoutXa, dtx } from '../../fixtures/app-without-xa.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { participantOf } from '../../tcc/little-app.js';

const MAX_BYTES = 1_000;
const small = { payloadMaxBytes: MAX_BYTES };
let sandbox: Sandbox;
let app: AppWithoutXa;
/** What the next Try returns. */
let returned: unknown;
const seen: unknown[] = [];

const returning = dtx.defineParticipant({ name: 'payment.returning', version: 4, args: z.object({}) });

beforeAll(async () => {
  sandbox = await freshSandbox('payload_refused', { audited: false });
  const library = { ...dtx, decorators: dtx } as never;
  app = await AppWithoutXa.start({
    sandbox,
    providers: [
      participantOf(library, returning, {
        try: () => returned,
        confirm: (_, __, branch) => seen.push(branch.data),
        cancel: () => {},
      }),
    ],
    localMessage: small,
    halfMessage: small,
    reliableMessage: small,
    tcc: small,
    notify: { ...small, defaultTarget: 'http://127.0.0.1:9', allow: ['127.0.0.1'] },
  });
});
afterAll(() => app?.close());

type Send = (schema: z.ZodType, payload: unknown) => Promise<unknown>;

const messageOf = (name: string, schema: z.ZodType, replicated: boolean) =>
  dtx.defineMessage({
    name,
    version: 4,
    schema,
    consumers: [`payment.${name.replace('.', '-')}`],
    gid: () => 'g-1',
    replicated,
  });

/** Each sender with the name that its errors must tell. */
const senders: Array<[string, string, Send]> = [
  [
    'the local message table',
    'probe.local v4',
    (schema, payload) =>
      app.source.transaction((tx) => app.local.append(tx, messageOf('probe.local', schema, false), payload)),
  ],
  [
    'a half message',
    'probe.half v4',
    (schema, payload) => app.half.send(messageOf('probe.half', schema, true), payload, async () => {}),
  ],
  [
    'a reliable message',
    'probe.reliable v4',
    (schema, payload) =>
      app.source.transaction((tx) => app.reliable.publish(tx, messageOf('probe.reliable', schema, true), payload)),
  ],
  [
    'a TCC transaction',
    'payment.probe v4',
    (schema, payload) => {
      const participant = dtx.defineParticipant({ name: 'payment.probe', version: 4, args: schema });
      return app.tcc.run({ timeoutMs: 300 }, (t) => t.call(participant, payload));
    },
  ],
];

const cyclic: Record<string, unknown> = {};
cyclic.again = cyclic;

/** Values that JSON cannot say, whatever the schema is; `within` is where the fault lies. */
const values: Array<[string, () => unknown, string]> = [
  ['a map', () => new Map([['a', 1]]), ''],
  ['a bigint', () => 5n, ''],
  ['NaN', () => Number.NaN, ''],
  ['-0', () => -0, ''],
  ['undefined in a list', () => [1, undefined], '.1'],
  ['a function', () => () => {}, ''],
  ['a cycle', () => cyclic, '.again'],
  ['a field named __proto__', () => JSON.parse('{"__proto__":{"isAdmin":true}}'), '.__proto__'],
];

/** Schemas that change the value that was sent. */
const schemas: Array<[string, z.ZodType, unknown]> = [
  ['a transform that multiplies', z.number().transform((n) => n * 100), 5],
  ['a transform into another type', z.string().transform(Number), '5'],
  ['a date', z.date(), new Date(7)],
  ['a set', z.set(z.number()), new Set([1])],
  ['an asynchronous check', z.string().refine(async () => true), 'a'],
];

const TABLES = ['dtx_outbox', 'dtx_half', 'dtx_tcc', 'dtx_tcc_branch', 'dtx_notification', 'dtx_inbox'];
const rows = async () => {
  const counts = TABLES.map((table) => `(SELECT COUNT(*) FROM ${table}) AS ${table}`);
  return sql(sandbox, 'payment', `SELECT ${counts.join(', ')}`);
};

async function expectRefused(send: () => Promise<unknown>, ...said: string[]): Promise<void> {
  const before = await rows();
  const error: unknown = await send().then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(dtx.DtxError);
  for (const text of said) expect((error as Error).message).toContain(text);
  expect(await rows()).toEqual(before);
}

describe.each(senders)('%s refuses at its sender, with nothing begun', (_, contract, send) => {
  test.each(values)('a payload with %s is refused by contract and field', async (_name, value, within) => {
    const schema = z.object({ order: z.any() });
    await expectRefused(() => send(schema, { order: value() }), contract, `: order${within}: `);
  });

  test.each(schemas)(
    'a payload that its schema changes is refused by contract and field: %s',
    async (_name, schema, value) => {
      await expectRefused(() => send(z.object({ order: schema }), { order: value }), contract, ': order: ');
    },
  );

  test('the error of a payload that is too large has the contract and both sizes', async () => {
    const order = 'é'.repeat(MAX_BYTES / 2);
    const bytes = Buffer.byteLength(JSON.stringify({ order }));
    await expectRefused(
      () => send(z.object({ order: z.string() }), { order }),
      contract,
      String(bytes),
      String(MAX_BYTES),
    );
  });
});

describe('a notification refuses at its sender', () => {
  const about = (data: object, at = new Date()) => ({ id: 'event-1', gid: 'g-1', type: 'payment.captured', at, data });

  test.each(values)('a notification with %s is refused by its id and field', async (_name, value, within) => {
    const data = { order: value() };
    await expectRefused(() => app.notifications.publish(about(data)), '"event-1"', `: payload.data.order${within}: `);
  });

  test('a notification with an invalid time is refused', async () => {
    const at = new Date(Number.NaN);
    await expectRefused(() => app.notifications.publish(about({}, at)), '"event-1"', ': payload.timestamp: ');
  });

  test('the error of a notification that is too large has its id and both sizes', async () => {
    const data = { order: 'x'.repeat(MAX_BYTES) };
    await expectRefused(() => app.notifications.publish(about(data)), '"event-1"', `at most ${MAX_BYTES}`);
  });
});

describe('what Try returns', () => {
  const run = () => app.tcc.run({ timeoutMs: 2_000 }, (t) => t.call(returning, {}));

  test.each([...values, ['too much', () => 'x'.repeat(MAX_BYTES), ''] as const])(
    'a Try that returns %s is refused at the participant, and its transaction is cancelled',
    async (_name, value, within) => {
      returned = { order: value() };
      expect(await run()).toMatchObject({ status: 'CANCELLED' });
      const told = /result of Try does not fit TCC participant payment\.returning v4: (order[^:]*|\d+ bytes)/;
      const error = await until('the participant has logged why', () =>
        app.errorsLogged.findLast((line) => told.test(line)),
      );
      expect(told.exec(error)![1]).toBe(_name === 'too much' ? `${MAX_BYTES + 12} bytes` : `order${within}`);
      expect(seen).toEqual([]);
    },
  );

  test('the result of Try reaches Confirm unchanged', async () => {
    for (const value of [{ n: 1, text: '\ud800', list: [null, { a: '' }] }, 'text', 0, null, false, undefined]) {
      returned = value;
      expect(await run()).toMatchObject({ status: 'CONFIRMED' });
      expect(seen.pop()).toEqual(value);
    }
  });
});
