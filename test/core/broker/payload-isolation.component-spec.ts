import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Contract, Participant } from '../../../libs/dtx/src/index.js';
import { AppWithoutXa, controllerOf, dtx } from '../../fixtures/app-without-xa.js';
import { Target } from '../../fixtures/notification-target.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const schema = z.object({
  id: z.string(),
  when: z.coerce.date(),
  text: z.string().trim(),
  note: z.string().default('none'),
  bag: z.any(),
});
type Given = z.output<typeof schema>;

/** What a sender gives: to be made anew for each sending, as it will be changed. */
const given = (id: string): Given =>
  ({
    id,
    when: new Date('2026-11-23T12:00:00.123Z'),
    text: '  \ud800 "quoted" \\ \u0000 \u{1f600} \u2028 ',
    bag: { list: [1.5, 1e300, null, { '': 'empty' }], 2: 'two', 1: 'one', constructor: 'c' },
    unknown: 'of no contract',
  }) as unknown as Given;
const arrives = (id: string): Given => schema.parse(given(id));

/** Changes all that can be changed of a message. */
function spoil(message: Given): void {
  message.when.setTime(0);
  message.text = 'spoilt';
  message.bag.list.length = 0;
  message.bag.more = message;
}

/** What each handler was given, as it was before the handler changed it. */
const seen: Array<{ who: string; message: unknown }> = [];
const seenBy = (who: string) => seen.filter((one) => one.who === who).map(({ message }) => message);

/** What the next runs of a consumer do at their end. */
const next = new Map<string, Array<(tx: EntityManager) => unknown>>();
const fail = () => {
  throw new Error('not today');
};
const deadlock = (tx: EntityManager) => tx.query(`SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213`);
const reject = () => {
  throw new dtx.Rejected('OUT_OF_STOCK');
};

function recorder(who: string) {
  return async (tx: EntityManager, message: Given, info?: Record<string, unknown>) => {
    seen.push({ who, message: structuredClone(message) });
    spoil(message);
    if (info) Object.assign(info, { messageId: 'spoilt', consumer: 'spoilt' });
    await next.get(who)?.shift()?.(tx);
  };
}

const messageOf = (name: string, consumers: string[], replicated: boolean): Contract<Given> =>
  dtx.defineMessage({ name, version: 1, schema, consumers, gid: ({ id }) => id, replicated });

const local = messageOf('probe.local', ['payment.one', 'payment.two'], false);
const half = messageOf('probe.half', ['payment.half'], true);
const reliable = messageOf('probe.reliable', ['payment.reliable'], true);
const participant = (name: string): Participant<Given> => dtx.defineParticipant({ name, version: 1, args: schema });
const [here, beside, there] = ['payment.here', 'payment.beside', 'inventory.there'].map(participant);

function handlersOf(who: string) {
  const handle = recorder(who);
  return {
    handle,
    reject: (tx: EntityManager, message: Given) => recorder(`${who} refusing`)(tx, message),
    beforeAck: (message: Given) => recorder(`${who} before the ack`)(undefined as never, message),
  };
}

function participantClass(contract: Participant<Given>) {
  const run = (phase: string) => async (tx: EntityManager, args: Given, branch: { data?: Given }) => {
    await recorder(`${contract.name} ${phase}`)(tx, args);
    if (branch.data) await recorder(`${contract.name} data`)(tx, schema.parse(branch.data));
    return phase === 'try' ? { ...given('data'), text: 'data' } : undefined;
  };
  @dtx.TccParticipant(contract)
  class Made {
    @dtx.Try() try(tx: EntityManager, args: Given, branch: { data?: Given }) {
      return run('try')(tx, args, branch);
    }
    @dtx.Confirm() confirm(tx: EntityManager, args: Given, branch: { data?: Given }) {
      return run('confirm')(tx, args, branch);
    }
    @dtx.Cancel() cancel(tx: EntityManager, args: Given, branch: { data?: Given }) {
      return run('cancel')(tx, args, branch);
    }
    @dtx.Confirmed() confirmed(args: Given) {
      return recorder(`${contract.name} confirmed`)(undefined as never, args);
    }
  }
  return Made;
}

let sandbox: Sandbox;
let app: AppWithoutXa;
let other: AppWithoutXa;
let target: Target;

beforeAll(async () => {
  sandbox = await freshSandbox('payload_arrives', { audited: false });
  target = await Target.start();
  const core = { inbox: { backoff: { firstMs: 20, factor: 1, capMs: 20 } } };
  app = await AppWithoutXa.start({
    sandbox,
    core,
    controllers: [
      controllerOf(local, handlersOf('one'), { consumer: 'one' }),
      controllerOf(local, handlersOf('two'), { consumer: 'two' }),
      controllerOf(half, handlersOf('half')),
      controllerOf(reliable, { handle: recorder('reliable') }, { duplicates: 'redis' }),
    ],
    providers: [participantClass(here!), participantClass(beside!)],
    notify: { allow: [target.host] },
  });
  other = await AppWithoutXa.start({ sandbox, name: 'inventory', core, providers: [participantClass(there!)] });
});
afterAll(async () => {
  await app?.close();
  await other?.close();
  await target?.close();
});
beforeEach(() => {
  seen.length = 0;
  next.clear();
});

const settled = (table: string, id: string) =>
  until(`${table} has no open row of ${id}`, async () => {
    const rows = await sql(sandbox, 'payment', `SELECT state, next_attempt_at FROM ${table} WHERE gid = ?`, [id]);
    return rows.length > 0 && rows.every((row) => row.next_attempt_at === null) ? rows : null;
  });

describe('a message arrives as it was given, whatever its sender and its handlers do to their own', () => {
  test('a local message arrives unchanged at each consumer, attempt, rejection and step before the ack', async () => {
    next.set('one', [deadlock, fail, reject]);
    next.set('one before the ack', [fail]);
    await app.source.transaction(async (tx) => {
      const payload = given('local-1');
      const appended = app.local.append(tx, local, payload);
      spoil(payload);
      await appended;
    });
    await settled('dtx_outbox', 'local-1');
    const message = arrives('local-1');
    expect(seenBy('one')).toEqual([message, message, message]);
    expect(seenBy('one refusing')).toEqual([message]);
    expect(seenBy('one before the ack')).toEqual([message, message]);
    expect(seenBy('two')).toEqual([message]);
    expect(seenBy('two before the ack')).toEqual([message]);
  });

  test('a half message and its committed result arrive unchanged', async () => {
    next.set('half', [deadlock, reject]);
    const payload = given('half-1');
    const sent = app.half.send(half, payload, async () => spoil(payload));
    spoil(payload);
    await sent;
    await until('its consumer has refused it', () => seenBy('half before the ack').length === 1);
    const message = arrives('half-1');
    expect(seenBy('half')).toEqual([message, message]);
    expect(seenBy('half refusing')).toEqual([message]);
    expect(seenBy('half before the ack')).toEqual([message]);
    expect(await app.half.committed(half, 'half-1')).toEqual(message);
  });

  test('a reliable message arrives unchanged, also with `duplicates: redis` and the inbox as fallback', async () => {
    next.set('reliable', [deadlock, fail, fail]);
    await app.source.transaction(async (tx) => {
      const payload = given('reliable-1');
      const published = app.reliable.publish(tx, reliable, payload);
      spoil(payload);
      await published;
    });
    await until('it was handled at last', () => seenBy('reliable').length === 4);
    const message = arrives('reliable-1');
    expect(seenBy('reliable')).toEqual([message, message, message, message]);
  });

  test('a notification arrives unchanged', async () => {
    const data = { ...given('event-1') };
    const at = new Date('2026-11-23T12:00:00Z');
    const published = app.notifications.publish({
      id: 'event-1',
      gid: 'event-1',
      type: 'probe.told',
      at,
      target: target.url(),
      data,
    });
    spoil(data);
    at.setTime(0);
    await published;
    const call = await until('the target was called', () => target.of('event-1')[0]);
    const expected = { type: 'probe.told', timestamp: '2026-11-23T12:00:00.000Z', data: given('event-1') };
    expect(call.body.toString()).toBe(JSON.stringify(expected));
  });
});

describe('arguments of a TCC transaction arrive as they were given, in each phase of each branch', () => {
  const PARTICIPANTS = [here!, beside!, there!];

  async function run(gid: string) {
    const payload = given(gid);
    const running = app.tcc.run({ gid, timeoutMs: 10_000 }, (t) => {
      for (const one of PARTICIPANTS) t.call(one, payload);
    });
    spoil(payload);
    return running;
  }

  test('arguments arrive unchanged in Try and Confirm of each branch', async () => {
    for (const { name } of PARTICIPANTS) {
      next.set(`${name} try`, [deadlock]);
      next.set(`${name} confirm`, [deadlock, fail]);
      next.set(`${name} confirmed`, [fail]);
    }
    expect(await run('tcc-1')).toMatchObject({ status: 'CONFIRMED' });
    await settled('dtx_tcc', 'tcc-1');
    const message = arrives('tcc-1');
    const data = { ...arrives('data'), text: 'data' };
    for (const { name } of PARTICIPANTS) {
      expect(seenBy(`${name} try`)).toEqual([message, message]);
      expect(seenBy(`${name} confirm`)).toEqual([message, message, message]);
      expect(seenBy(`${name} data`)[0]).toEqual(data);
      expect(new Set(seenBy(`${name} data`).map((one) => JSON.stringify(one))).size).toBe(1);
      expect(seenBy(`${name} confirmed`)).toEqual([message, message]);
    }
    expect(await app.tcc.argsOf('tcc-1', there!)).toEqual(message);
  });

  test('arguments arrive unchanged in Try and Cancel of each branch', async () => {
    next.set('inventory.there try', [reject]);
    next.set('payment.here cancel', [fail]);
    expect(await run('tcc-2')).toMatchObject({ status: 'CANCELLED', reason: 'OUT_OF_STOCK' });
    await settled('dtx_tcc', 'tcc-2');
    const message = arrives('tcc-2');
    expect(seenBy('payment.here cancel')).toEqual([message, message]);
    expect(seenBy('payment.beside cancel')).toEqual([message]);
  });
});
