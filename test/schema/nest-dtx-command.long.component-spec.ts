import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createConnection } from 'mysql2/promise';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { DtxCommand, dtx } from './dtx-command.js';

let sandbox: Sandbox;
let url: string;

beforeEach(async () => {
  sandbox = await freshSandbox('nest_dtx_command', { audited: false });
  url = sandbox.databases.payment;
});

/** Runs a script in one session, as an administrator would. */
async function runScript(script: string): Promise<void> {
  const connection = await createConnection({ uri: url, multipleStatements: true });
  try {
    await connection.query(script);
  } finally {
    await connection.end();
  }
}

/** The whole schema, without the times at which versions were applied. */
async function schemaNow(): Promise<unknown> {
  const columns = await sql(
    sandbox,
    'payment',
    `SELECT table_name, column_name, column_type, column_default, is_nullable FROM information_schema.columns
      WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position`,
  );
  const indexes = await sql(
    sandbox,
    'payment',
    `SELECT table_name, index_name, seq_in_index, column_name FROM information_schema.statistics
      WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index`,
  );
  const versions = await sql(
    sandbox,
    'payment',
    'SELECT component, version, name FROM dtx_schema_version ORDER BY component, version',
  );
  return { columns, indexes, versions };
}

test('status exits with 2 before migrate and with 0 after it', async () => {
  const before = await dtx(['status'], url);
  expect(before).toMatchObject({
    code: 2,
    output: expect.stringMatching(/^behind +dtx-inbox +needed 5, present none$/m),
  });
  const migrated = await dtx(['migrate'], url);
  expect(migrated).toMatchObject({ code: 0, output: expect.stringContaining('dtx-inbox version 5: ') });
  const after = await dtx(['status'], url);
  expect(after).toMatchObject({ code: 0, output: expect.stringMatching(/^ok +dtx-inbox +needed 5, present 5$/m) });
});

test('migrate is safe to run twice, and from three processes at the same time', async () => {
  const runs = await Promise.all([dtx(['migrate'], url), dtx(['migrate'], url), dtx(['migrate'], url)]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0, 0]);
  const applied = runs.flatMap(({ output }) => output.match(/^dtx-\S+ version \d+/gm) ?? []);
  expect(new Set(applied).size).toBe(applied.length);
  const first = await schemaNow();
  expect(await dtx(['migrate'], url)).toMatchObject({ code: 0, output: 'up to date, nothing to apply\n' });
  expect(await schemaNow()).toEqual(first);
});

test('migrate with --schemes creates the tables of these schemes only, and a later run adds others', async () => {
  await dtx(['migrate', '--schemes', 'local-message'], url);
  const tables = async () =>
    (await sql(sandbox, 'payment', 'SHOW TABLES')).map((row) => String(Object.values(row)[0])).sort();
  expect(await tables()).toEqual(expect.arrayContaining(['dtx_inbox', 'dtx_outbox']));
  expect(await tables()).not.toContain('dtx_tcc');
  expect(await dtx(['status', '--schemes', 'local-message'], url)).toMatchObject({ code: 0 });
  expect(await dtx(['status', '--schemes', 'local-message,tcc'], url)).toMatchObject({ code: 2 });
  await dtx(['migrate', '--schemes', 'local-message,tcc'], url);
  expect(await tables()).toContain('dtx_tcc');
});

test('the printed SQL makes the same schema as migrate, also when it runs twice', async () => {
  const { code, output } = await dtx(['sql']);
  expect(code).toBe(0);
  await runScript(output);
  const byHand = await schemaNow();
  await runScript(output);
  expect(await schemaNow()).toEqual(byHand);
  expect(await dtx(['status'], url)).toMatchObject({ code: 0 });
  await freshSandbox('nest_dtx_command', { audited: false });
  await dtx(['migrate'], url);
  expect(await schemaNow()).toEqual(byHand);
});

test('sql --from status prints the missing versions only, which bring the schema up to date', async () => {
  await dtx(['migrate'], url);
  await sql(sandbox, 'payment', `DELETE FROM dtx_schema_version WHERE component = 'dtx-inbox' AND version > 3`);
  const { output } = await dtx(['sql', '--from', 'status'], url);
  expect(output.match(/^-- dtx-\S+ version \d+/gm)).toEqual(['-- dtx-inbox version 4', '-- dtx-inbox version 5']);
  await runScript(output);
  expect(await dtx(['status'], url)).toMatchObject({ code: 0 });
});

test('Ctrl-C ends a migrate that waits for another one, with exit code 130', async () => {
  const other = await createConnection(url);
  onTestFinished(() => other.end());
  await other.query(`DO GET_LOCK(CONCAT('dtx-migrate:', LEFT(SHA2(DATABASE(), 256), 40)), 0)`);
  const command = DtxCommand.start(['migrate', '--url', url]);
  const waits = `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'SELECT GET_LOCK%'`;
  await until('migrate waits for the lock', async () => Number((await sql(sandbox, 'payment', waits))[0]!.n) > 0);
  command.kill('SIGINT');
  expect(await command.ended).toEqual({ code: 130, output: 'migrate stopped; run it again to go on\n' });
  expect(await sql(sandbox, 'payment', 'SHOW TABLES')).toEqual([]);
});

test('Ctrl-C ends a doctor that waits for Redis, with exit code 130 and without a verdict', async () => {
  const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  onTestFinished(() => void silent.close());
  await once(silent, 'listening');
  const command = DtxCommand.start([
    'doctor',
    '--redis',
    `redis://127.0.0.1:${(silent.address() as AddressInfo).port}`,
  ]);
  await once(silent, 'connection');
  command.kill('SIGINT');
  expect(await command.ended).toEqual({ code: 130, output: 'doctor stopped; run it again to go on\n' });
});

test('a wrong password ends migrate with exit code 1 and is not printed', async () => {
  const wrong = new URL(url);
  wrong.password = 'wr0ng-secret';
  const { code, output } = await dtx(['migrate', '--url', wrong.href]);
  expect(code).toBe(1);
  expect(output).toMatch(/^migrate failed: Access denied/);
  expect(output).not.toContain('wr0ng-secret');
});
