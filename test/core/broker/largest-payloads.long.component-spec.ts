import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { AppWithoutXa, controllerOf, dtx } from '../../fixtures/app-without-xa.js';
import { Target } from '../../fixtures/notification-target.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { participantOf } from '../../tcc/little-app.js';

/** The largest `payloadMaxBytes` that the options take. */
const CEILING = 4_000_000;
/** The check of a half message. A busy machine needs longer than usual to store the largest verdict before it. */
const CHECK_MS = 3_000;
const schema = z.object({ id: z.string(), text: z.string() });
type Payload = z.output<typeof schema>;

/** As large as is allowed, and of what grows most wherever it is quoted. */
function largest(id: string): Payload {
  const room = CEILING - Buffer.byteLength(JSON.stringify({ id, text: '' }));
  const text = '"'.repeat(Math.floor(room / 2)) + 'x'.repeat(room % 2);
  return { id, text };
}

const messageOf = (name: string, consumer: string, replicated: boolean) =>
  dtx.defineMessage({ name, version: 1, schema, consumers: [consumer], gid: ({ id }) => id, replicated });
const local = messageOf('large.local', 'payment.local', false);
const half = messageOf('large.half', 'payment.half', true);
const reliable = messageOf('large.reliable', 'payment.reliable', true);
const part = dtx.defineParticipant({ name: 'payment.large', version: 1, args: schema });

let sandbox: Sandbox;
let app: AppWithoutXa;
let target: Target;
let probe: QueueProbe;
const handled = new Map<string, number>();
const confirmed: Array<{ args: Payload; data: Payload }> = [];

/** Fails at first, so that the message has to be stored. */
function failOnce() {
  const failed = new Set<string>();
  return (_: EntityManager, { id, text }: Payload) => {
    if (!failed.has(id)) {
      failed.add(id);
      throw new Error('not today');
    }
    handled.set(id, text.length);
  };
}

beforeAll(async () => {
  sandbox = await freshSandbox('payload_sizes', { audited: false });
  target = await Target.start();
  probe = await QueueProbe.open(sandbox);
  const large = { payloadMaxBytes: CEILING };
  app = await AppWithoutXa.start({
    sandbox,
    core: { inbox: { backoff: { firstMs: 20, factor: 1, capMs: 20 } } },
    controllers: [
      controllerOf(local, { handle: failOnce() }),
      controllerOf(half, { handle: failOnce() }),
      controllerOf(reliable, { handle: failOnce() }),
    ],
    providers: [
      participantOf({ ...dtx, decorators: dtx } as never, part, {
        try: (_, args: Payload) => ({ ...largest(args.id) }),
        confirm: (_, args: Payload, { data }) => confirmed.push({ args, data }),
      }),
    ],
    localMessage: large,
    halfMessage: { ...large, levelsMs: [CHECK_MS] },
    reliableMessage: large,
    tcc: large,
    notify: { ...large, allow: [target.host] },
  });
});
afterAll(async () => {
  await app?.close();
  await target?.close();
  await probe?.close();
});

const rowsOf = (table: string, gid: string) => sql(sandbox, 'payment', `SELECT * FROM ${table} WHERE gid = ?`, [gid]);
const untilHandled = (id: string) =>
  until(`${id} is handled`, () => handled.get(id) === largest(id).text.length, { withinMs: 60_000 });

describe('the largest payload that is allowed is stored and sent', () => {
  test('a local message of the largest size is sent, and stored by a consumer that fails', async () => {
    await app.source.transaction((tx) => app.local.append(tx, local, largest('local-1')));
    await untilHandled('local-1');
    await until('it is done', async () => (await rowsOf('dtx_outbox', 'local-1'))[0]?.state === 'DONE');
  });

  test('a half message of the largest size is sent, and parked when its local transaction stays open', async () => {
    const isParked = async () => (await rowsOf('dtx_half_parked', 'half-1'))[0]?.state === 'PARKED';
    await app.half.send(half, largest('half-1'), async () => {
      await until('the copy is parked', isParked);
    });
    await untilHandled('half-1');
    expect(await app.half.committed(half, 'half-1')).toEqual(largest('half-1'));
  });

  test('a reliable message of the largest size is sent', async () => {
    await app.source.transaction((tx) => app.reliable.publish(tx, reliable, largest('reliable-1')));
    await untilHandled('reliable-1');
  });

  test('arguments of several branches and results of Try may have the largest size', async () => {
    const ids = ['a', 'b', 'c'];
    const outcome = await app.tcc.run({ gid: 'tcc-1', timeoutMs: 60_000 }, (t) => {
      for (const id of ids) t.call(part, largest(id));
    });
    expect(outcome.status).toBe('CONFIRMED');
    await until('it is carried out', async () => (await rowsOf('dtx_tcc', 'tcc-1'))[0]?.state === 'CONFIRMED');
    for (const id of ids) {
      const { args, data } = confirmed.find((one) => one.args.id === id)!;
      expect([args, data]).toEqual([largest(id), largest(id)]);
    }
  });

  test('a notification of the largest size is sent', async () => {
    const about = { id: 'event-1', gid: 'event-1', type: 'probe.told', at: new Date(0), target: target.url() };
    const empty = JSON.stringify({
      id: about.id,
      gid: about.gid,
      type: about.type,
      target: about.target,
      payload: { type: about.type, timestamp: about.at.toISOString(), data: { text: '' } },
    });
    const text = '"'.repeat(Math.floor((CEILING - Buffer.byteLength(empty)) / 2));
    await app.notifications.publish({ ...about, data: { text } });
    const call = await until('the target was called', () => target.of('event-1')[0]);
    expect(JSON.parse(call.body.toString()).data.text.length).toBe(text.length);
    const over = { ...about, id: 'event-2', data: { text: `${text}""` } };
    await expect(app.notifications.publish(over)).rejects.toThrow(/at most 4000000 are allowed/);
  });
});

describe('a message that is larger than any sender of ours may send', () => {
  test.each([8_500_000, 15_000_000])('a message of %i bytes is parked and blocks none behind it', async (bytes) => {
    const body = Buffer.alloc(bytes, 'x');
    const properties = { messageId: `stray-${bytes}`, type: 'large.local.v1' };
    const receipt = await probe.deliver('dtx.payment.local.v1', body, properties);
    expect(receipt.outcome).toBe('PARKED');
    const [row] = await sql(sandbox, 'payment', 'SELECT state, last_error FROM dtx_inbox WHERE message_id = ?', [
      properties.messageId,
    ]);
    expect(row).toMatchObject({
      state: 'PARKED',
      last_error: expect.stringMatching(/^not JSON: .*only its first 8000000 bytes are kept/),
    });
  });
});
