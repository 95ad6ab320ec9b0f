import { type EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { contractOf, controllerOf, LittleService, libraryOf, type ServiceOptions } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

/** Every wait of the library has a bound. The bounds here are generous: they tell a wait that ends from one that does not. */
const library = libraryOf();
const contract = contractOf(library, 'waits');
const HEALS = { withinMs: 30_000 };
const FOR_EVER = () => new Promise<never>(() => {});
let sandbox: Sandbox;
let service: LittleService | undefined;
let proxy: TcpProxy | undefined;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('waits', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(8) PRIMARY KEY) ENGINE=InnoDB');
});

afterEach(async () => {
  await service?.close();
  await proxy?.close();
  service = proxy = undefined;
});

type Handle = (tx: EntityManager, gid: string) => Promise<unknown>;
interface Handlers {
  readonly handle?: Handle;
  readonly beforeAck?: (gid: string) => Promise<unknown>;
}

async function start({ handle = insert, beforeAck }: Handlers, options: Partial<ServiceOptions> = {}): Promise<void> {
  const on = (tx: EntityManager, { gid }: { gid: string }) => handle(tx, gid);
  const before = ({ gid }: { gid: string }) => beforeAck!(gid);
  const steps = beforeAck ? ([[library.BeforeAck(contract), before]] as const) : [];
  const controllers = [controllerOf([[library.OnMessage(contract), on], ...steps])];
  service = await LittleService.start({ sandbox, library, ...options, controllers });
}

const nextGid = () => `w${++count}`;
const insert: Handle = (tx, gid) => tx.query('INSERT INTO effect VALUES (?)', [gid]);
const append = (gid: string) =>
  service!.source.transaction((tx) => service!.get(library.LocalMessages).append(tx, contract, { gid }));

interface Held {
  state: string;
  attempts: number;
  last_error: string | null;
}
const inboxOf = (gid: string) =>
  sql<Held>(sandbox, 'payment', 'SELECT state, attempts, last_error FROM dtx_inbox WHERE gid = ?', [gid]);
const untilInbox = (gid: string, state: string) =>
  until(`${gid} is ${state}`, async () => (await inboxOf(gid)).find((row) => row.state === state), HEALS);
const effects = async (gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT 1 FROM effect WHERE gid = ?', [gid])).length;

function participant(contract: ReturnType<typeof library.defineParticipant>, tryIt?: Handle) {
  const { Try, Confirm, Cancel, TccParticipant } = library;
  class Funds {
    reserve(tx: EntityManager) {
      return tryIt?.(tx, '');
    }
    use() {}
    giveBack() {}
  }
  const decorate = (decorator: unknown, name: keyof Funds) =>
    (decorator as MethodDecorator)(Funds.prototype, name, Object.getOwnPropertyDescriptor(Funds.prototype, name)!);
  decorate(Try(), 'reserve');
  decorate(Confirm(), 'use');
  decorate(Cancel(), 'giveBack');
  TccParticipant(contract)(Funds);
  return Funds;
}

describe('a database whose answers are lost', () => {
  test('calls, loops and handlers go on over new connections after a database has lost their answers', async () => {
    proxy = await TcpProxy.start(sandbox.databases.payment);
    const core = { acquireTimeoutMs: 2_000, statementTimeoutMs: 2_000 };
    const prepare: ServiceOptions['prepare'] = (source) =>
      library.limitWaits(source, { acquireMs: 2_000, statementMs: 2_000 });
    await start({}, { url: proxy.url, core, prepare });
    const before = nextGid();
    await append(before);
    await untilInbox(before, 'HANDLED');
    const left = nextGid();
    proxy.forget();
    const refusals: boolean[] = [];
    const isAppended = () =>
      append(left).then(
        () => true,
        (error) => {
          refusals.push(library.isUnavailable(error));
          return false;
        },
      );
    await until('a call succeeds', isAppended, HEALS);
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals.every(Boolean)).toBe(true);
    await untilInbox(left, 'HANDLED');
    expect(await effects(left)).toBe(1);
  });
});

describe('a handler that never ends', () => {
  test('a handler that never ends loses its transaction, is parked, and does not block the message behind it', async () => {
    const [hanging, good] = [nextGid(), nextGid()];
    const handle: Handle = async (tx, gid) => {
      await insert(tx, gid);
      if (gid === hanging) await FOR_EVER();
    };
    await start({ handle }, { core: { handlerTimeoutMs: 500, prefetch: 1, inbox: { attemptsMax: 2 } } });
    await append(hanging);
    await append(good);
    await untilInbox(good, 'HANDLED');
    const parked = await untilInbox(hanging, 'PARKED');
    expect(parked).toMatchObject({ attempts: 2 });
    expect(parked.last_error).toMatch(
      /@OnMessage\(test\.waits\.v1\) .* has not ended within 500 ms \(handlerTimeoutMs\)/,
    );
    // Its row does not exist and is not locked.
    await sql(sandbox, 'payment', 'INSERT INTO effect VALUES (?)', [hanging]);
    const alerts = await sql(sandbox, 'payment', 'SELECT 1 FROM dtx_alert WHERE gid = ?', [hanging]);
    expect(alerts).toHaveLength(1);
  });

  test('a slow handler keeps its session, because the process pings while the handler sends nothing', async () => {
    const workSilenceSeconds = 3;
    const seen: unknown[] = [];
    const handle: Handle = async (tx, gid) => {
      const [row] = await tx.query('SELECT @@SESSION.wait_timeout AS seconds');
      seen.push(Number(row.seconds));
      const since = performance.now();
      await until('a slow call ends', () => performance.now() - since > 2 * workSilenceSeconds * 1_000, HEALS);
      await insert(tx, gid);
    };
    await start({ handle }, { core: { workSilenceSeconds } });
    const gid = nextGid();
    await append(gid);
    await untilInbox(gid, 'HANDLED');
    expect(await effects(gid)).toBe(1);
    expect(seen).toEqual([workSilenceSeconds]);
  });

  test('a step before the ack that never ends is parked, and the business before it stays committed', async () => {
    let calls = 0;
    const beforeAck = () => {
      calls++;
      return FOR_EVER();
    };
    await start({ beforeAck }, { core: { handlerTimeoutMs: 300, inbox: { attemptsMax: 2 } } });
    const gid = nextGid();
    await append(gid);
    const { last_error } = await untilInbox(gid, 'PARKED');
    expect(last_error).toContain('@BeforeAck(test.waits.v1)');
    expect([calls, await effects(gid)]).toEqual([2, 1]);
  });
});

describe('a participant that never ends', () => {
  test('a participant that never ends reserves nothing: its Try is rolled back, and the transaction is cancelled', async () => {
    const funds = library.defineParticipant({ name: 'payment.test-funds', version: 1, args: z.object({}) });
    const gid = nextGid();
    const reserve: Handle = async (tx) => {
      await insert(tx, gid);
      await FOR_EVER();
    };
    await start({}, { providers: [participant(funds, reserve)], core: { handlerTimeoutMs: 300 } });
    const outcome = await service!.get(library.Tcc).run({ timeoutMs: 2_000 }, (t) => t.call(funds, {}));
    expect(outcome.status).toBe('CANCELLED');
    // Its row does not exist and is not locked.
    await sql(sandbox, 'payment', 'INSERT INTO effect VALUES (?)', [gid]);
  });
});

describe('a transaction inside a transaction', () => {
  test('as many TCC calls inside transactions of the user as the pool has connections all end', async () => {
    const funds = library.defineParticipant({ name: 'payment.test-funds', version: 1, args: z.object({}) });
    await start({}, { providers: [participant(funds)], source: { poolSize: 4, extra: { connectionLimit: 4 } } });
    const one = () =>
      service!.source.transaction(async (tx) => {
        await tx.query('SELECT 1');
        return service!.get(library.Tcc).run({}, (t) => t.call(funds, {}));
      });
    const outcomes = await Promise.all([one(), one(), one(), one()]);
    expect(outcomes.map(({ status }) => status)).toEqual(Array(4).fill('CONFIRMED'));
    await service!.source.query('SELECT 1');
  });

  test('a transaction inside that of a handler is refused, since it would need a second connection of the pool', async () => {
    const funds = library.defineParticipant({ name: 'payment.test-funds', version: 1, args: z.object({}) });
    const handle: Handle = () => service!.get(library.Tcc).run({}, (t) => t.call(funds, {}));
    await start({ handle }, { providers: [participant(funds)], core: { workPoolSize: 1, inbox: { attemptsMax: 1 } } });
    const gid = nextGid();
    await append(gid);
    const { last_error } = await untilInbox(gid, 'PARKED');
    expect(last_error).toContain('SQL on another connection inside @OnMessage(test.waits.v1)');
  });
});
