import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../../tools/src/sandbox/sandbox.js';
import { atGaleraNode, type GaleraCluster, type GaleraNode, lackOfGalera, startGalera } from '../../fixtures/galera.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { type Sandbox, servers } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/**
 * Two instances at two nodes write the same row. InnoDB knows the locks of its own node only, so the loser learns of the
 * conflict at its COMMIT (certification), as a deadlock.
 */
const library = libraryOf();
const ROUNDS = 100;
let lack: string;
let cluster: GaleraCluster;
let sandbox: Sandbox;
let services: readonly LittleService[];

beforeAll(async () => {
  lack = await lackOfGalera();
  if (lack) return;
  cluster = await startGalera('conflicts');
  const own = cluster.url('g1');
  sandbox = await createSandbox(
    { ...servers(), databases: { order: own, payment: own, inventory: own } },
    'galera_conf',
  );
  // Both migrate at once, since a named lock is known to its own node only. A failed migration is a refused start.
  services = await Promise.all([serviceAt('g1'), serviceAt('g2')]);
  await query('g1', 'CREATE TABLE counter (id INT PRIMARY KEY, n INT NOT NULL)');
}, 300_000);

afterAll(async () => {
  await Promise.all((services ?? []).map((one) => one.close()));
  await cluster?.end();
});

beforeEach((context) => context.skip(lack !== '', lack));

const urlAt = (node: GaleraNode) => atGaleraNode(sandbox.databases.payment, cluster, node);
const serviceAt = (node: GaleraNode) => LittleService.start({ sandbox, library, url: urlAt(node) });

async function query(node: GaleraNode, ...statements: string[]): Promise<Array<Record<string, unknown>>> {
  const connection = await createConnection(urlAt(node));
  try {
    let rows: unknown = [];
    for (const statement of statements) [rows] = await connection.query(statement);
    return rows as Array<Record<string, unknown>>;
  } finally {
    connection.destroy();
  }
}

/** Increments a row at both nodes at once, in turns of two. Returns the errors. */
async function increments(id: number, increment: (service: LittleService) => Promise<unknown>): Promise<unknown[]> {
  await query('g1', `INSERT INTO counter VALUES (${id}, 0)`);
  const errors: unknown[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const tried = await Promise.allSettled(services.map(increment));
    errors.push(...tried.flatMap((one) => (one.status === 'rejected' ? [one.reason] : [])));
  }
  return errors;
}

const storedAt = async (id: number) =>
  (await query('g1', 'SET wsrep_sync_wait = 1', `SELECT n FROM counter WHERE id = ${id}`))[0]!.n;
const incrementSql = (id: number) => `UPDATE counter SET n = n + 1 WHERE id = ${id}`;

test('without a retry some of the commits at two nodes fail with 1213, and none of those is in the table', async () => {
  const errors = await increments(1, ({ source }) => source.transaction((tx) => tx.query(incrementSql(1))));
  expect(errors.length).toBeGreaterThan(0);
  expect(errors.filter((error) => !library.isDeadlock(error))).toEqual([]);
  expect(errors.filter((error) => library.isOutcomeUnknown(error))).toEqual([]);
  expect(await storedAt(1)).toBe(2 * ROUNDS - errors.length);
});

type Begin = (service: LittleService, statement: () => string) => Promise<unknown>;
const ways: ReadonlyArray<readonly [name: string, begin: Begin]> = [
  ['inTransaction', ({ source }, next) => library.inTransaction(source, (tx) => tx.query(next()))],
  ['a handler', (one, next) => databaseOf(one).work.run({ what: 'a test', run: (tx) => tx.query(next()) })],
  ['a transaction of the library', (one, next) => databaseOf(one).own.transaction((sql) => sql.query(next()))],
];
const databaseOf = (service: LittleService) => service.get(library.Database);

test.each(ways)(
  '%s runs again after a certification conflict, and every increment is there once',
  async (name, begin) => {
    const id = 10 + ways.findIndex(([one]) => one === name);
    let runs = 0;
    const statement = () => {
      runs++;
      return incrementSql(id);
    };
    expect(await increments(id, (service) => begin(service, statement))).toEqual([]);
    expect(runs).toBeGreaterThan(2 * ROUNDS);
    expect(await storedAt(id)).toBe(2 * ROUNDS);
  },
);

test('a COMMIT at a node that loses the majority fails with 1180, which is an unavailable database with an unknown outcome', async () => {
  const [at] = services as [LittleService];
  const database = databaseOf(at);
  await query('g1', 'INSERT INTO counter VALUES (100, 0)');
  const committing = at.source.transaction(async (tx) => {
    await tx.query(incrementSql(100));
    await cluster.isolate('g1', true);
  });
  try {
    const error = await committing.then(
      () => null,
      (reason) => reason,
    );
    expect(error).toMatchObject({ errno: 1180 });
    expect([library.isUnavailable(error), library.isOutcomeUnknown(error)]).toEqual([true, true]);
    await cluster.untilStatus('g1', 'wsrep_ready', 'OFF');
    expect(await database.isAway(error)).toBe(true);
    expect(await database.writeProblem()).toMatch(/WSREP/);
  } finally {
    await cluster.isolate('g1', false);
  }
  await cluster.untilStatus('g1', 'wsrep_ready', 'ON');
  await until('it takes writes again', async () => (await database.writeProblem()) === '');
});

test('a read at another node may be older than an answered commit, and wsrep_sync_wait waits for that commit', async () => {
  await query('g1', 'INSERT INTO counter VALUES (200, 0)');
  const reader = await createConnection(urlAt('g2'));
  const holder = await createConnection(urlAt('g2'));
  try {
    await until('the row is there', async () => (await query('g2', 'SELECT n FROM counter WHERE id = 200')).length);
    // g2 receives the commit, and cannot apply it.
    await holder.query('LOCK TABLES counter READ');
    await query('g1', incrementSql(200));
    const read = async () => {
      const [rows] = await reader.query('SELECT n FROM counter WHERE id = 200');
      return (rows as Array<{ n: number }>)[0]!.n;
    };
    expect(await read()).toBe(0);
    await reader.query('SET SESSION wsrep_sync_wait = 1');
    const causal = read();
    await holder.query('UNLOCK TABLES');
    expect(await causal).toBe(1);
  } finally {
    reader.destroy();
    holder.destroy();
  }
});
