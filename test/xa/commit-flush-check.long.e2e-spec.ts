import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { flushFlaw } from '../../libs/dtx/src/xa/commit-flush-check.js';
import { endRecording, isRecordable, recordedSandbox } from '../fixtures/disk-write-counts.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { orphan } from './branches-by-hand.js';
import { effectsOf, everywhere, type LittleXa, LittleXas, libraryOf, prepareTables } from './little-xa.js';

/** Own servers, because their global variables are set here. */
const SET = 'xaflush';
const library = libraryOf();
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library, xa: { logCheckIntervalMs: 200, acquireTimeoutMs: 300 } }));

beforeAll(async () => {
  sandbox = await recordedSandbox(SET);
  await prepareTables(sandbox, library);
}, 300_000);

afterEach(async () => {
  await apps.closeAll();
  for (const app of ['order', 'payment'] as const) await set(app, 1);
});

afterAll(() => endRecording(SET), 120_000);

beforeEach((context) => {
  context.skip(!isRecordable(SET), 'the servers were given: others use them, too');
});

const set = (app: AppName, value: number) => sql(sandbox, app, `SET GLOBAL innodb_flush_log_at_trx_commit = ${value}`);

const endOf = (app: LittleXa, gid: string) =>
  app.run(gid, everywhere(gid)).then(
    () => 'committed',
    (error: Error) => `${error.name}: ${error.message}`,
  );
const untilEnd = (app: LittleXa, gid: string, wanted: RegExp) => {
  let n = 0;
  return until(`a transaction ends like ${wanted}`, async () => {
    const end = await endOf(app, `${gid}-${++n}`);
    if (wanted.test(end)) return end;
    throw new Error(end);
  });
};

test.each(['order', 'payment'] as const)(
  'a server of %s that does not flush its commits begins no transaction, and the error names the variable and its value',
  async (name) => {
    await set(name, 2);
    const app = await apps.start();
    expect(await untilEnd(app, `refused-${name}`, /flush/)).toMatch(
      new RegExp(`^XaUnavailable: .*${name}.* has innodb_flush_log_at_trx_commit = 2, not 1`),
    );
    // Prepared branches are ended nevertheless.
    const { gtrid } = await orphan(sandbox);
    await until('the orphan is rolled back', async () => {
      const [row] = await sql<{ who: string }>(sandbox, 'payment', 'SELECT who FROM dtx_xa_witness WHERE gtrid = ?', [
        gtrid,
      ]);
      return row?.who === 'recovery';
    });
    await set(name, 1);
    await untilEnd(app, `mended-${name}`, /^committed$/);
    await set(name, 0);
    await untilEnd(app, `changed-${name}`, /innodb_flush_log_at_trx_commit = 0/);
  },
);

test('a server that does not flush is used if the option allows it', async () => {
  await Promise.all([set('order', 0), set('payment', 2)]);
  const app = await apps.start({ xa: { acceptUnflushed: true } });
  await until('a transaction is committed', () => endOf(app, 'accepted').then((end) => end === 'committed'));
  expect(await effectsOf(sandbox, 'accepted')).toHaveLength(3);
  await expectNothingLeft(sandbox);
});

test.each([
  ['MySQL', '9.7.4', { flush_log: 1, log_bin: 1, sync_binlog: 1 }, null],
  ['MySQL', '9.7.4', { flush_log: 1, log_bin: 1, sync_binlog: 0 }, /^has sync_binlog = 0 with log_bin on, not 1/],
  ['MySQL', '9.7.4', { flush_log: 1, log_bin: 1, sync_binlog: 100 }, /^has sync_binlog = 100/],
  ['MySQL', '9.7.4', { flush_log: 1, log_bin: 0, sync_binlog: 0 }, null],
  ['MySQL', '9.7.4', { flush_log: 2, log_bin: 0, sync_binlog: 1 }, /^has innodb_flush_log_at_trx_commit = 2, not 1/],
  ['MariaDB', '10.11.18-MariaDB-log', { flush_log: 3, log_bin: 0, sync_binlog: 0 }, null],
  [
    'MariaDB',
    '10.11.18-MariaDB-log',
    { flush_log: 0, log_bin: 0, sync_binlog: 0 },
    /^has innodb_flush_log_at_trx_commit = 0/,
  ],
  [
    'MariaDB',
    '10.11.18-MariaDB-log',
    { flush_log: 1, log_bin: 1, sync_binlog: 0 },
    /^has sync_binlog = 0 with log_bin on/,
  ],
])('the settings of a %s server (%s) are judged: %j', (_, server, row, flaw) => {
  const found = flushFlaw({ server, ...row });
  if (flaw === null) expect(found).toBeNull();
  else expect(found).toMatch(flaw);
});
