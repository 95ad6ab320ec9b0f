// Messages of one consumer that share a transaction. Each has one effect, and a failure is that of its own message.
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'shared');
const MESSAGES = 40;
const CORE = { inbox: { attemptsMax: 2 }, handlerTimeoutMs: 2_000 };
let sandbox: Sandbox;
let service: LittleService | undefined;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('shared_handlers', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
});
afterEach(() => service?.close());

type Handle = (tx: EntityManager, gid: string, n: number) => Promise<unknown>;

/** Sends messages at once to a service whose handler writes an effect for each, and returns how they ended. */
async function handled({ odd = async () => {}, most = 16 }: { odd?: Handle; most?: number } = {}) {
  const transactions: EntityManager[] = [];
  const gids = Array.from({ length: MESSAGES }, () => `shared-${++count}`);
  const effect = (tx: EntityManager, gid: string) => tx.query('INSERT INTO effect VALUES (?)', [gid]);
  const handle = async (tx: EntityManager, { gid }: { gid: string }) => {
    transactions.push(tx);
    await effect(tx, gid);
    await odd(tx, gid, gids.indexOf(gid));
  };
  const refuse = (tx: EntityManager, { gid }: { gid: string }) => effect(tx, `${gid}.refused`);
  const controllers = [
    controllerOf([
      [library.OnMessage(contract, { messagesPerTransaction: most }), handle],
      [library.OnRejected(contract), refuse],
    ] as never),
  ];
  service = await LittleService.start({ sandbox, library, controllers, core: CORE });
  const messages = service.get(library.LocalMessages);
  await service.source.transaction(async (tx) => {
    for (const gid of gids) await messages.append(tx, contract, { gid });
  });
  const query = "SELECT gid, state FROM dtx_inbox WHERE gid IN (?) AND state IN ('HANDLED', 'PARKED')";
  const rows = await until('the messages are handled or parked', async () => {
    const found = await sql<{ gid: string; state: string }>(sandbox, 'payment', query, [gids]);
    return found.length === gids.length && found;
  });
  const effects = await sql<{ gid: string }>(sandbox, 'payment', 'SELECT gid FROM effect');
  return {
    states: gids.map((gid) => rows.find((row) => row.gid === gid)!.state),
    effects: gids.map((gid) => effects.filter((one) => one.gid === gid).length),
    refusals: gids.map((gid) => effects.filter((one) => one.gid === `${gid}.refused`).length),
    transactions: new Set(transactions).size,
    runs: transactions.length,
  };
}

const each = <T>(one: T) => Array<T>(MESSAGES).fill(one);
const but = <T>(all: T, at: number, one: T) => each(all).map((value, n) => (n === at ? one : value));

test('messages that wait are handled in the same transaction, each once', async () => {
  const { states, effects, transactions, runs } = await handled();
  expect(states).toEqual(each('HANDLED'));
  expect(effects).toEqual(each(1));
  expect(transactions).toBeLessThan(runs);
});

test('without the option, each message has its own transaction', async () => {
  const { effects, transactions } = await handled({ most: 1 });
  expect(effects).toEqual(each(1));
  expect(transactions).toBe(MESSAGES);
});

test('a refused message runs its @OnRejected, and the others are handled', async () => {
  const { states, effects, refusals } = await handled({
    odd: async (_tx, _gid, n) => {
      if (n === 20) throw new library.Rejected('NO');
    },
  });
  expect(states).toEqual(each('HANDLED'));
  expect(effects).toEqual(but(1, 20, 0));
  expect(refusals).toEqual(but(0, 20, 1));
});

test('a message that fails each time is parked, and the others are handled', async () => {
  const { states, effects } = await handled({
    odd: async (_tx, _gid, n) => {
      if (n === 20) throw new Error('poison');
    },
  });
  expect(states).toEqual(but('HANDLED', 20, 'PARKED'));
  expect(effects).toEqual(but(1, 20, 0));
});

test('a message that hangs costs the others no attempt, and is parked', async () => {
  const hangs = new Promise(() => {});
  const run = handled({ odd: (_tx, _gid, n) => (n === 20 ? hangs : Promise.resolve()) });
  const { states, effects } = await run;
  expect(states).toEqual(but('HANDLED', 20, 'PARKED'));
  expect(effects).toEqual(but(1, 20, 0));
});

const decorated = (options: object) => () => library.OnMessage(contract, options as never);

test.each([0, -1, 1.5, 101, Number.NaN, '16'])('refuses messagesPerTransaction: %s', (messagesPerTransaction) => {
  const decorate = decorated({ messagesPerTransaction })() as MethodDecorator;
  class Handler {
    async handle() {}
  }
  const descriptor = Object.getOwnPropertyDescriptor(Handler.prototype, 'handle')!;
  expect(() => decorate(Handler.prototype, 'handle', descriptor)).toThrow(
    'messagesPerTransaction must be an integer from 1 to 100',
  );
});

test('refuses messagesPerTransaction beside duplicates in Redis, whose effects are not undone', async () => {
  const handle = async () => {};
  const options = { messagesPerTransaction: 16, duplicates: 'redis' } as const;
  const controllers = [controllerOf([[library.OnMessage(contract, options), handle]] as never)];
  await expect(LittleService.start({ sandbox, library, controllers })).rejects.toThrow(
    "messagesPerTransaction needs duplicates: 'inbox'",
  );
});
