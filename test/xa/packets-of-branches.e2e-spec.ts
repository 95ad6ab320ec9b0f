import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { deferStatement } from '../../libs/dtx/dist/index.js';
import { queryIn } from '../fixtures/query-packet.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { ALL, effectsOf, everywhere, LittleXa, libraryOf, type Managers, prepareTables } from './little-xa.js';

const library = libraryOf();
const INSERT = 'INSERT INTO effect (gid, n) VALUES (?, 1)';
let sandbox: Sandbox;
let app: LittleXa;
let proxy: TcpProxy;
let count = 0;
const newGid = () => `packets-${++count}`;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_packets');
  await prepareTables(sandbox, library);
  proxy = await TcpProxy.start(sandbox.databases.payment);
  // Recovery and purge would send packets of their own.
  const core = { scanIntervalMs: 3_600_000, purgeIntervalMs: 3_600_000 };
  app = await LittleXa.start({ sandbox, library, urls: { payment: proxy.url }, xa: { timeoutMs: 10_000 }, core });
  // The connection of the next transaction is open and pinned.
  await app.run(newGid(), everywhere('warm'));
});

afterEach(async () => {
  await sql(sandbox, 'payment', 'DROP TRIGGER IF EXISTS test_no_witness');
  await expectNothingLeft(sandbox);
});

afterAll(async () => {
  await app?.close();
  await proxy?.close();
});

/** The texts of the queries that the branch of payment sends, one per packet: 3 bytes of length, number 0, command 3. */
async function packetsOf(run: () => Promise<unknown>): Promise<string[]> {
  const texts: string[] = [];
  const stop = proxy.onBytes('to-server', (chunk) => {
    const text = queryIn(chunk);
    if (text !== null) texts.push(text);
  });
  await run().finally(stop);
  return texts;
}

test('a branch with one statement costs three packets, and XA START travels with the statement', async () => {
  const gid = newGid();
  const packets = await packetsOf(() => app.run(gid, everywhere(gid)));
  expect(packets).toEqual([
    expect.stringMatching(/^XA START .*; INSERT INTO dtx_xa_witness .*; INSERT INTO effect /s),
    expect.stringMatching(/^XA END .*; XA PREPARE /),
    expect.stringMatching(/^XA COMMIT /),
  ]);
  expect(await effectsOf(sandbox, gid)).toEqual(ALL);
});

test('a deferred statement with a question mark and a table name in its text is stored as it is, with XA PREPARE', async () => {
  const gid = `${newGid()}-?-dtx_xa_witness`;
  const packets = await packetsOf(() => app.run(newGid(), ({ payment }) => deferStatement(payment!, INSERT, [gid])));
  expect(packets).toHaveLength(2);
  expect(await effectsOf(sandbox, gid)).toEqual(['payment']);
});

test('a branch without a statement is prepared and committed with its witness', async () => {
  const packets = await packetsOf(() => app.run(newGid(), async ({ order }) => order!.query('DO 1')));
  expect(packets).toEqual([expect.stringMatching(/^XA START .*XA PREPARE /s), expect.stringMatching(/^XA COMMIT /)]);
});

test('a branch that is rolled back before its first statement sends nothing, and its connection serves the next one', async () => {
  const refuse = async () => {
    throw new Error('no');
  };
  const packets = await packetsOf(() => expect(app.run(newGid(), refuse)).rejects.toThrow('no'));
  expect(packets).toEqual([]);
  const gid = newGid();
  expect(await packetsOf(() => app.run(gid, everywhere(gid)))).toHaveLength(3);
});

const LAST_STATEMENTS: Record<string, (gid: string) => (managers: Managers) => Promise<unknown>> = {
  'a statement of the work': everywhere,
  'a swallowed error of the work': (gid) => (managers) => everywhere(gid)(managers).catch(() => {}),
  'XA PREPARE':
    (gid) =>
    async ({ order, inventory, payment }) => {
      for (const one of [order!, inventory!]) await one.query(INSERT, [gid]);
      await deferStatement(payment!, INSERT, [gid]);
    },
};

test.each(Object.keys(LAST_STATEMENTS))(
  'a witness that is refused in the packet of %s stops the packet and rolls everything back',
  async (which) => {
    const gid = newGid();
    await sql(
      sandbox,
      'payment',
      `CREATE TRIGGER test_no_witness BEFORE INSERT ON dtx_xa_witness FOR EACH ROW
       SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no witness'`,
    );
    await expect(app.run(gid, LAST_STATEMENTS[which]!(gid))).rejects.toThrow('no witness');
    expect(await effectsOf(sandbox, gid)).toEqual([]);
  },
);
