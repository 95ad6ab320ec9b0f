import { type EntityManager, EntitySchema } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { prepareStrange, strangeUrl } from './strange-session-accounts.js';

/** The library does not change the user's pool, and works in the user's transactions with any settings of it. */
const library = libraryOf();
const contract = contractOf(library, 'message');
let sandbox: Sandbox;
let service: LittleService;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('user_pool', { audited: false });
  await prepareStrange(sandbox);
  await sql(
    sandbox,
    'payment',
    'CREATE TABLE effect (gid VARCHAR(8) NOT NULL, n TINYINT UNSIGNED NOT NULL) ENGINE=InnoDB',
  );
  await sql(
    sandbox,
    'payment',
    `CREATE TABLE invoice (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(20) NOT NULL, created DATETIME(3) NOT NULL,
     issued TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)) ENGINE=InnoDB`,
  );
});

afterEach(() => service?.close());

type Handle = (tx: EntityManager, gid: string) => Promise<unknown>;

async function start(handle: Handle, options: Partial<ServiceOptions> = {}): Promise<void> {
  const on = (tx: EntityManager, { gid }: { gid: string }) => handle(tx, gid);
  const controllers = [controllerOf([[library.OnMessage(contract), on]])];
  service = await LittleService.start({
    sandbox,
    library,
    core: { inbox: { attemptsMax: 1 } },
    ...options,
    controllers,
  });
}

const nextGid = () => `m${++count}`;
const append = (tx: EntityManager, gid: string) => service.get(library.LocalMessages).append(tx, contract, { gid });

/** Sends a message and waits until it is handled, or parked for the error that is answered. */
async function handle(gid = nextGid()): Promise<string | null> {
  await service.source.transaction((tx) => append(tx, gid));
  const query = `SELECT last_error AS error FROM dtx_inbox WHERE gid = ? AND state IN ('HANDLED', 'PARKED')`;
  const [row] = await until('the message is handled or parked', async () => {
    const rows = await sql<{ error: string | null }>(sandbox, 'payment', query, [gid]);
    return rows.length > 0 && rows;
  });
  return row!.error;
}

/** All settings of a session but its counters. */
async function settings(query: (text: string) => Promise<Array<{ Variable_name: string; Value: string }>>) {
  const rows = await query('SHOW SESSION VARIABLES');
  const passing =
    /^(timestamp|rand_seed\d|pseudo_thread_id|last_|insert_id|identity|statement_id|error_count|warning_count|gtid_)/;
  return Object.fromEntries(
    rows.filter((row) => !passing.test(row.Variable_name)).map((row) => [row.Variable_name, row.Value]),
  );
}

test.each([false, true])(
  'no session of the pool is changed by the library; opened before it: %s',
  async (isOpenBefore) => {
    const plain = await settings((text) => sql(sandbox, 'payment', text));
    await start(async () => {}, { isOpenBefore });
    await handle();
    const runners = Array.from({ length: 4 }, () => service.source.createQueryRunner());
    const sessions = await Promise.all(runners.map((runner) => settings((text) => runner.query(text))));
    await Promise.all(runners.map((runner) => runner.release()));
    const { collation_connection: _, ...expected } = plain;
    for (const session of sessions) expect(session).toMatchObject(expected);
  },
);

const Invoice = new EntitySchema<{ id: number; who: string; created: Date; issued: Date }>({
  name: 'invoice',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    who: { type: 'varchar' },
    created: { type: 'datetime', precision: 3 },
    issued: { type: 'timestamp', precision: 3, default: () => 'CURRENT_TIMESTAMP(3)' },
  },
});

describe.each([
  ['the zone of the server is UTC+8, the driver has no time zone', 'east', {}],
  ['server and driver are both told UTC+8', 'east', { timezone: '+08:00' }],
  ['the driver has UTC', 'east', { timezone: 'Z' }],
  ['the server says nothing', 'loose', {}],
])('%s', (_, account, source) => {
  test('a date that a handler writes is the same in a request, and vice versa', async () => {
    const created = new Date(Date.UTC(2026, 0, 31, 12, 0, 0, 5));
    const seen: Date[] = [];
    await start(
      async (tx) => {
        const invoices = tx.getRepository(Invoice);
        await invoices.insert({ who: 'handler', created });
        for (const { created: date, issued } of await invoices.find({ order: { id: 'ASC' } })) seen.push(date, issued);
      },
      { url: strangeUrl(sandbox, 'payment', account), source: { ...source, entities: [Invoice] } },
    );
    const invoices = service.source.getRepository(Invoice);
    await invoices.clear();
    await invoices.insert({ who: 'request', created });
    expect(await handle()).toBeNull();
    const rows = await invoices.find({ order: { id: 'ASC' } });
    expect(seen).toEqual(rows.flatMap(({ created: date, issued }) => [date, issued]));
    expect(rows.map((row) => row.created)).toEqual([created, created]);
    const apartMs = rows[1]!.issued.getTime() - rows[0]!.issued.getTime();
    expect(apartMs).toBeGreaterThanOrEqual(0);
    expect(apartMs).toBeLessThan(60_000);
  });
});

test('the settings of the user’s pool hold in a handler too', async () => {
  const seen: unknown[] = [];
  const ask = `SELECT @@SESSION.group_concat_max_len AS length, @@SESSION.time_zone AS zone, @@SESSION.sql_mode AS mode,
    @@SESSION.lc_time_names AS words, @@SESSION.div_precision_increment AS digits`;
  const prepare = (source: { driver: object }) => {
    const driver = source.driver as {
      connect(): Promise<void>;
      pool: { on(event: string, listener: (c: { query(text: string): void }) => void): void };
    };
    const connect = driver.connect.bind(driver);
    driver.connect = async () => {
      await connect();
      driver.pool.on('acquire', (connection) => {
        connection.query(`SET SESSION group_concat_max_len = 4711, time_zone = '+05:30', lc_time_names = 'de_DE'`);
        connection.query(`SET SESSION div_precision_increment = 9, sql_mode = 'PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'`);
      });
    };
  };
  await start(async (tx) => void seen.push(...(await tx.query(ask))), { prepare });
  expect(await handle()).toBeNull();
  expect(seen).toEqual([
    expect.objectContaining({ zone: '+05:30', words: 'de_DE', mode: expect.stringContaining('PIPES_AS_CONCAT') }),
  ]);
  const { length, digits, mode } = seen[0] as { length: unknown; digits: unknown; mode: string };
  expect([Number(length), Number(digits)]).toEqual([4711, 9]);
  expect(mode).toContain('STRICT_TRANS_TABLES');
  expect(mode).not.toContain('NO_BACKSLASH_ESCAPES');
});

describe('on a server without strict mode', () => {
  const loose = () => ({ url: strangeUrl(sandbox, 'payment', 'loose') });

  test.each([
    ['a text that is too long', `INSERT INTO effect VALUES ('longer than eight', 1)`],
    ['a number that is too large', `INSERT INTO effect VALUES ('x', 300)`],
  ])('a handler is refused %s, instead of storing another one', async (_, statement) => {
    await start((tx) => tx.query(statement), loose());
    expect(await handle()).toMatch(/too long|out of range/i);
    expect(await sql(sandbox, 'payment', 'SELECT * FROM effect')).toEqual([]);
  });

  test.each([
    ['of 300 bytes', 'x'.repeat(300), 'POST /x'],
    ['of none', '', 'POST /x'],
    ['for a route with a space behind it', 'key', 'POST /x '],
    ['for a route that is too long', 'key', `POST /${'x'.repeat(80)}`],
  ])('an Idempotency-Key %s is refused, instead of standing for another one', async (_, key, route) => {
    await start(async () => {}, loose());
    const claim = (tx: EntityManager) =>
      service.get(library.IdempotencyKeys).claim(tx, { route, key, body: {}, gid: 'g' });
    await expect(service.source.transaction(claim)).rejects.toThrow(
      /Idempotency-Key: expected 1 to 255 bytes|route: expected/,
    );
  });
});

describe('in a transaction of the user whose session', () => {
  const setUp: ReadonlyArray<readonly [string, readonly string[]]> = [
    ['has another default database', ['USE information_schema']],
    ['reads uncommitted rows', ['SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED']],
    ['escapes nothing', [`SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'`]],
    ['speaks Latin-1', ['SET NAMES latin1']],
    ['checks no keys', ['SET SESSION unique_checks = 0, SESSION foreign_key_checks = 0']],
    ['has a zone of its own', [`SET SESSION time_zone = '-11:00'`]],
  ];

  test.each(setUp)('a message is stored and sent unchanged in a session that %s', async (_, statements) => {
    const heard: string[] = [];
    await start(async (_tx, gid) => void heard.push(gid));
    const runner = service.source.createQueryRunner();
    for (const statement of statements) await runner.query(statement);
    const gid = nextGid();
    await runner.startTransaction();
    await append(runner.manager, gid);
    const keys = service.get(library.IdempotencyKeys);
    const claim = { route: 'POST /x', key: `${gid} é '\\`, body: { gid }, gid };
    expect(await keys.claim(runner.manager, claim)).toEqual({ first: true });
    await keys.settle(runner.manager, { ...claim, outcome: { said: `é '\\ 🎉` } });
    expect(await keys.claim(runner.manager, claim)).toEqual({ first: false, gid, outcome: { said: `é '\\ 🎉` } });
    await runner.commitTransaction();
    await (runner as unknown as { databaseConnection: { destroy(): void } }).databaseConnection.destroy();
    await until('the message is handled', () => heard.includes(gid));
    const [row] = await sql<{ late: number }>(
      sandbox,
      'payment',
      'SELECT ABS(TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP(3))) > 60 AS late FROM dtx_outbox WHERE gid = ?',
      [gid],
    );
    expect(Number(row!.late)).toBe(0);
  });

  test('a message is refused with a reason in a session that has stopped its clock', async () => {
    await start(async () => {});
    const unit = async (tx: EntityManager) => {
      await tx.query('SET timestamp = 2000000000');
      try {
        await append(tx, nextGid());
      } finally {
        await tx.query('SET timestamp = DEFAULT');
      }
    };
    await expect(service.source.transaction(unit)).rejects.toThrow('timestamp');
  });
});
