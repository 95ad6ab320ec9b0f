// Calls of a service and sends of half messages that share a transaction. Here only their caller could find their effects.
import type { Socket } from 'node:net';
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf, type Library, LittleService } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';
import { type Deferring, intact, SEVERAL, step } from './deferring-service.js';
import { lostCommitRunsAgain, onlyKnownErrors } from './shared-transactions.mutants.js';
import { gidsOf, inside, MOST, openSharing, reasonOf, stepsOf, untilAllShare, without } from './sharing-units.js';

type Call = (gid: string, run: (tx: EntityManager) => Promise<unknown>) => Promise<unknown>;

let deferring: Deferring;
let service: LittleService | undefined;

beforeAll(async () => {
  deferring = await openSharing('shared_callers');
});

afterEach(async () => {
  await service?.close();
  service = undefined;
});

interface Setting {
  readonly library?: Library;
  readonly url?: string;
}

interface Names<T> {
  readonly byName: Map<string, T>;
}

/** A service of `library`, and its two kinds of calls. `together` begins its calls in one turn of the event loop. */
async function start({ library = intact, url = deferring.sandbox.databases.payment }: Setting = {}) {
  const { sandbox } = deferring;
  const contract = contractOf(library, 'shared-callers', { replicated: true });
  const halfMessage = { sendsPerTransaction: MOST };
  service = await LittleService.start({ sandbox, library, url, source: SEVERAL, halfMessage });
  const shared = service.get(library.SharedTransactions);
  const halfMessages = service.get(library.HalfMessages);
  const later = contractOf(library, 'shared-callers-later');
  const append = (tx: EntityManager, gid: string) => service!.get(library.LocalMessages).append(tx, later, { gid });
  const calls: Record<'call' | 'send', Call> = {
    call: (_, run) => shared.run('place an order', run, { callsPerTransaction: MOST }),
    send: (gid, run) => halfMessages.send(contract, { gid }, run),
  };
  const together = (call: Call, runs: ReadonlyArray<readonly [string, (tx: EntityManager) => Promise<unknown>]>) =>
    Promise.allSettled(runs.map(([gid, run]) => call(gid, run)));
  const rounds = async (call: Call, sharing: () => object) => {
    const round = () =>
      together(
        call,
        gidsOf(MOST).map((gid) => [gid, async () => {}]),
      );
    await round();
    await untilAllShare(sharing(), round);
  };
  await rounds(calls.call, () => inside<Names<{ sharing: object }>>(shared).byName.get('place an order')!.sharing);
  await rounds(calls.send, () => [...inside<{ sharing: Names<object> }>(halfMessages).sharing.byName.values()][0]!);
  return { calls, shared, together, append };
}

test.each(['call', 'send'] as const)('calls by %s share a transaction, and each gets its own result', async (kind) => {
  const { calls, together } = await start();
  const gids = gidsOf(MOST);
  const transactions = new Set<EntityManager>();
  const ended = await together(
    calls[kind],
    gids.map((gid) => {
      const run = async (tx: EntityManager) => {
        transactions.add(tx);
        await step(tx, gid, 1);
        return gid;
      };
      return [gid, run];
    }),
  );
  expect(ended.map(reasonOf)).toEqual(gids);
  expect(transactions.size).toBeLessThan(MOST / 2);
  expect(await stepsOf(deferring, gids)).toEqual(gids.map(() => 1));
});

test.each(['call', 'send'] as const)('if one call by %s is refused, the others commit once', async (kind) => {
  const { calls, together, append } = await start();
  const gids = gidsOf(4);
  const ended = await together(
    calls[kind],
    gids.map((gid, n) => {
      const run = async (tx: EntityManager) => {
        await step(tx, gid, 1);
        await append(tx, gid);
        if (n === 1) throw new intact.Rejected('SOLD_OUT');
      };
      return [gid, run];
    }),
  );
  expect(ended.map(reasonOf)).toEqual([undefined, 'SOLD_OUT', undefined, undefined]);
  expect(await stepsOf(deferring, gids)).toEqual([1, 0, 1, 1]);
  const { sandbox } = deferring;
  const messages = await sql(sandbox, 'payment', 'SELECT id FROM dtx_outbox WHERE gid IN (?)', [gids]);
  expect(messages).toHaveLength(3);
});

test('calls of another name have another transaction', async () => {
  const { shared } = await start();
  const managers = await Promise.all(
    ['one', 'other'].flatMap((name) => [1, 2].map(() => shared.run(name, async (tx) => [name, tx] as const))),
  );
  const [ones, others] = ['one', 'other'].map((name) => managers.filter(([of]) => of === name).map(([, tx]) => tx));
  expect(ones!.some((tx) => others!.includes(tx))).toBe(false);
});

test('a call inside a shared transaction is refused, and a wrong argument is named', async () => {
  const { shared } = await start();
  const nested = shared.run('outer', () => shared.run('inner', async () => {}));
  await expect(nested).rejects.toThrow(intact.TransactionRequired);
  const run = (name: unknown, work: unknown, callsPerTransaction?: unknown) =>
    shared.run(name as string, work as () => Promise<void>, { callsPerTransaction: callsPerTransaction as number });
  const work = async () => {};
  await expect(run('', work)).rejects.toThrow('needs a constant name of 1 to 100 characters');
  await expect(run('n'.repeat(101), work)).rejects.toThrow('needs a constant name');
  await expect(run(work, undefined)).rejects.toThrow('needs a constant name');
  await expect(run('a name', undefined)).rejects.toThrow("run('a name', work) needs the work as a function");
  await expect(shared.run('a name', work, null as never)).rejects.toThrow('needs an object');
  await shared.run('a small name', work, { callsPerTransaction: 2 });
  await expect(shared.run('a small name', work)).rejects.toThrow('has callsPerTransaction 16 here and 2 elsewhere');
  for (const calls of [0, 101, 1.5, '2', null, Number.NaN])
    await expect(run('a name', work, calls)).rejects.toThrow('callsPerTransaction must be an integer from 1 to 100');
});

describe('an answer to the COMMIT of several that is lost', () => {
  /**
   * Four calls run once each, and the connection breaks before the answer to their COMMIT. They have waited for another one,
   * so they share.
   */
  async function lost(kind: 'call' | 'send', { library = intact, error }: { library?: Library; error?: object } = {}) {
    const proxy = await TcpProxy.start(deferring.sandbox.databases.payment);
    try {
      const { calls, together } = await start({ library, url: proxy.url });
      const gids = gidsOf(4);
      let runs = 0;
      // Another COMMIT of the service must not take away the answer to a step.
      let done = 0;
      const stop = proxy.onBytes('to-server', (chunk) => {
        if (done >= gids.length && chunk.includes('COMMIT')) proxy.blackHole('to-client');
      });
      let over = () => {};
      const first = new Promise<void>((resolve) => {
        over = resolve;
      });
      let isHolding = false;
      const hold = () => {
        isHolding = true;
        return first;
      };
      const holding = calls[kind](gidsOf(1)[0]!, hold).catch(() => {});
      await until('the first one runs', () => isHolding);
      let socket: Socket | undefined;
      const run = (gid: string) => async (tx: EntityManager) => {
        socket = (tx.queryRunner as unknown as { databaseConnection: { stream: Socket } }).databaseConnection.stream;
        await step(tx, gid, ++runs);
        done++;
      };
      const ending = together(
        calls[kind],
        gids.map((gid) => [gid, run(gid)]),
      );
      await until('they are committed', async () => (await stepsOf(deferring, gids)).every((steps) => steps > 0));
      stop();
      if (error) socket!.destroy(Object.assign(new Error('the connection broke'), error));
      else proxy.cut();
      proxy.heal();
      const ended = await ending;
      over();
      await holding;
      const errors = ended.map((one) => (one.status === 'rejected' ? one.reason : undefined));
      return { errors, steps: await stepsOf(deferring, gids) };
    } finally {
      await service?.close();
      service = undefined;
      await proxy.close();
    }
  }

  test.each(['call', 'send'] as const)('is an unknown outcome for each %s, and nothing is done twice', async (kind) => {
    const { errors, steps } = await lost(kind);
    expect(errors.map(intact.isOutcomeUnknown)).toEqual([true, true, true, true]);
    expect(steps).toEqual([1, 1, 1, 1]);
  });

  /** Linux reports these on an open connection, and OpenSSL a damaged record. */
  const OTHERS = [
    { code: 'EHOSTUNREACH', errno: -113, syscall: 'read' },
    { code: 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC' },
    // A proxy between the app and the server has numbers of the client.
    { code: 'CR_SERVER_LOST', errno: 2013 },
  ];

  test.each(OTHERS)('is unknown with the error $code of the connection too', async (error) => {
    for (const kind of ['call', 'send'] as const) {
      const { errors, steps } = await lost(kind, { error });
      expect(errors.map(intact.isOutcomeUnknown)).toEqual([true, true, true, true]);
      expect(steps).toEqual([1, 1, 1, 1]);
    }
  });

  test('control: if only known errors are unknown, it is done twice', async () => {
    const { errors, steps } = await lost('call', { ...without(onlyKnownErrors), error: OTHERS[1]! });
    expect(errors).toEqual(Array(4).fill(undefined));
    expect(steps).toEqual([2, 2, 2, 2]);
  });

  test('control: if each call runs again, it is done twice', async () => {
    const { errors, steps } = await lost('call', without(lostCommitRunsAgain));
    expect(errors).toEqual(Array(4).fill(undefined));
    expect(steps).toEqual([2, 2, 2, 2]);
  });

  test('control: if each send runs again, a committed one is said to be rolled back', async () => {
    const { library } = without(lostCommitRunsAgain);
    const { errors, steps } = await lost('send', { library });
    expect(errors.map((error) => error instanceof library.RuledBack)).toEqual([true, true, true, true]);
    expect(steps).toEqual([1, 1, 1, 1]);
  });
});
