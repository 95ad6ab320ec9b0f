import { type EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/**
 * What a server refuses for a reason that passes says nothing of the message. The servers are real, and so are their errors:
 * a session that takes no writes stands for a server that takes none, since the test servers are everybody's.
 */
const library = libraryOf();
const contract = contractOf(library, 'passing');
const ACCOUNT = 'passing_errors';
const PASSWORD = 'passing-Passw0rd';
const READ_ONLY = 'SET SESSION TRANSACTION READ ONLY';
let sandbox: Sandbox;
let service: LittleService | undefined;
let calls: string[] = [];
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('passing_errors', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(8) PRIMARY KEY) ENGINE=InnoDB');
});

afterEach(async () => {
  await service?.close();
  service = undefined;
});

type Handle = (tx: EntityManager, gid: string) => Promise<unknown>;

async function start(options: Partial<ServiceOptions> = {}, handle: Handle = insert): Promise<LittleService> {
  calls = [];
  const on = async (tx: EntityManager, { gid }: { gid: string }) => {
    calls.push(gid);
    await handle(tx, gid);
  };
  const controllers = [controllerOf([[library.OnMessage(contract), on]])];
  service = await LittleService.start({ sandbox, library, ...options, controllers });
  return service;
}

const nextGid = () => `p${++count}`;
const insert: Handle = (tx, gid) => tx.query('INSERT INTO effect VALUES (?)', [gid]);
const append = (gid: string) =>
  service!.source.transaction((tx) => service!.get(library.LocalMessages).append(tx, contract, { gid }));

/** The inbox has no row of it with an attempt, then or before: the handler is what failed nothing. */
async function untilHandled(gid: string): Promise<void> {
  const rows = () =>
    sql<{ state: string; attempts: number }>(
      sandbox,
      'payment',
      'SELECT state, attempts FROM dtx_inbox WHERE gid = ?',
      [gid],
    );
  await until(`${gid} is handled`, async () => (await rows())[0]?.state === 'HANDLED');
  expect(await rows()).toEqual([{ state: 'HANDLED', attempts: 0 }]);
}

test('the first refused write after a switchover replaces all connections of the user’s pool', async () => {
  const size = 4;
  const { source } = await start({ source: { poolSize: size, extra: { connectionLimit: size } } });
  const runners = Array.from({ length: size }, () => source.createQueryRunner());
  await Promise.all(runners.map((runner) => runner.query(READ_ONLY)));
  await Promise.all(runners.map((runner) => runner.release()));
  const gid = nextGid();
  const refusal = await append(gid).catch((error) => error);
  expect(library.isUnavailable(refusal)).toBe(true);
  const next = Array.from({ length: size }, nextGid);
  await Promise.all(next.map(append));
  for (const one of next) await untilHandled(one);
});

test('the library closes sessions to a server without writes and counts no attempt', async () => {
  const { source, get } = await start({ core: { workPoolSize: 1, ownPoolSize: 1 } }).then((one) => ({
    source: one.source,
    get: one.get.bind(one),
  }));
  const { own, work } = get(library.Database);
  await Promise.all([own.query(READ_ONLY), work.query(READ_ONLY)]);
  const gid = nextGid();
  await append(gid);
  await untilHandled(gid);
  expect(calls).toEqual([gid]);
  expect(await source.query('SELECT gid FROM effect WHERE gid = ?', [gid])).toHaveLength(1);
});

test('a handler is repeated without a counted attempt after a server without disk space refused its statement', async () => {
  // The server answers as it does on a full disk (1114), for this table alone. A MEMORY table that is full would do, but
  // MySQL with GTIDs refuses it in a transaction.
  await sql(sandbox, 'payment', 'CREATE TABLE full (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
  await sql(
    sandbox,
    'payment',
    `CREATE TRIGGER no_space BEFORE INSERT ON full FOR EACH ROW
     SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'`,
  );
  await start({}, async (tx, gid) => {
    await insert(tx, gid);
    await tx.query('INSERT INTO full VALUES (?)', [gid]);
  });
  const gid = nextGid();
  await append(gid);
  await until('it was tried several times', () => calls.length >= 3);
  await sql(sandbox, 'payment', 'DROP TRIGGER no_space');
  await untilHandled(gid);
});

/** Ends the sessions of the account, so that it has to connect again. */
async function endSessions(): Promise<void> {
  const sessions = await sql<{ id: number }>(
    sandbox,
    'payment',
    'SELECT id FROM information_schema.processlist WHERE user = ?',
    [ACCOUNT],
  );
  for (const { id } of sessions) await sql(sandbox, 'payment', `KILL ${Number(id)}`).catch(() => {});
}

test('an account that is refused after the database was open counts as unavailable and works once it is allowed again', async () => {
  const account = `'${ACCOUNT}'@'%'`;
  await sql(sandbox, 'payment', `DROP USER IF EXISTS ${account}`);
  await sql(sandbox, 'payment', `CREATE USER ${account} IDENTIFIED BY '${PASSWORD}'`);
  const url = new URL(sandbox.databases.payment);
  await sql(sandbox, 'payment', `GRANT ALL ON \`${url.pathname.slice(1)}\`.* TO ${account}`);
  Object.assign(url, { username: ACCOUNT, password: PASSWORD });
  const { source } = await start({ url: url.href });

  const refused = (errno: number) =>
    until(`it is refused with ${errno}`, async () => {
      const ends = await Promise.allSettled(Array.from({ length: 6 }, () => source.query('SELECT SLEEP(0.2)')));
      const reasons = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
      const refusals = reasons.filter((one) => one.errno === errno);
      return refusals.length > 0 && refusals;
    });
  const works = () => until('it works again', () => source.query('SELECT 1').then(() => true));

  for (const [change, errno, undo] of [
    ['WITH MAX_USER_CONNECTIONS 1', 1226, 'WITH MAX_USER_CONNECTIONS 0'],
    [`IDENTIFIED BY 'another-Passw0rd'`, 1045, `IDENTIFIED BY '${PASSWORD}'`],
  ] as const) {
    await sql(sandbox, 'payment', `ALTER USER ${account} ${change}`);
    await endSessions();
    const [refusal] = await refused(errno);
    expect(library.isUnavailable(refusal)).toBe(true);
    expect(library.isOutcomeUnknown(refusal)).toBe(false);
    await sql(sandbox, 'payment', `ALTER USER ${account} ${undo}`);
    await works();
  }
  const gid = nextGid();
  await append(gid);
  await untilHandled(gid);
});
