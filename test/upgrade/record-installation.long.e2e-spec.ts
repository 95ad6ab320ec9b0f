import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dropSandbox } from '../../tools/src/sandbox/sandbox.js';
import { AlertSink } from '../fixtures/alert-sink.js';
import { ROOT } from '../fixtures/app-process.js';
import { Target } from '../fixtures/notification-target.js';
import { type AppName, freshSandbox, type Sandbox, servers } from '../fixtures/sandbox.js';
import { APPS } from '../fixtures/three-apps.js';
import { aboutOf, INSTALLATIONS, MERCHANT, readInstallation, writeInstallation } from './installation-files.js';
import { clockAndServer, dumpOf } from './record-databases.js';
import { queuesOf } from './record-queues.js';
import { RecordedWork, statesOf } from './recorded-work.js';

/**
 * Records an installation of a build, see README.md of this folder. Without `DTX_RECORD_BUILD` it records the present build
 * below `.infra/`, so that the recorder works when a release needs it.
 */
const build = process.env.DTX_RECORD_BUILD;
const name = build ? commitOf(build) : 'present';
const folder = build ? join(INSTALLATIONS, name) : join(ROOT, '.infra', 'test', 'installation');
let sandbox: Sandbox;
let merchant: Target;
const alerts = new AlertSink();
let work: RecordedWork;

/** The open states of each table, and a settled one. Each recording has all of them. */
const STATES: ReadonlyArray<readonly [app: AppName, table: string, states: readonly string[]]> = [
  ['order', 'dtx_outbox', ['DONE', 'PARKED', 'PENDING', 'SENT']],
  ['order', 'dtx_xa', ['COMMITTING', 'DONE', 'ROLLING_BACK']],
  ['order', 'dtx_alert', ['PENDING']],
  ['payment', 'dtx_tcc', ['CANCELLING', 'CONFIRMED', 'CONFIRMING', 'PARKED', 'TRYING']],
  ['payment', 'dtx_notification', ['PARKED', 'PENDING']],
  ['inventory', 'dtx_inbox', ['HANDLED', 'PARKED', 'RETRYING']],
  ['inventory', 'dtx_half', ['COMMITTED', 'SENT']],
  ['inventory', 'dtx_half_parked', ['PARKED']],
];
const QUEUES = [
  'dtx.inventory.half-wait.600000ms.v1',
  'dtx.inventory.take-stock.v1',
  'dtx.order.receipts.v1',
  'dtx.order.record-flash-sale.v1',
  'dtx.order.restock-hint.v1',
  'dtx.payment.notify.v1',
  'dtx.payment.take-money.v1',
];

function commitOf(root: string): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
}

beforeAll(async () => {
  sandbox = await freshSandbox('recorded_installation', { audited: false });
  merchant = await Target.start();
  await alerts.up();
  alerts.reply = () => 503;
  work = new RecordedWork(sandbox, { root: build, merchant, alertsUrl: alerts.url });
  await work.make();
}, 600_000);

afterAll(async () => {
  await work?.end();
  // Its prepared branches carry the log id of the recording, as those of a restored installation do.
  await dropSandbox(servers(), sandbox.name);
  await alerts.down();
  await merchant?.close();
});

test('the recording has every open state, messages in the queues and prepared branches', {
  timeout: 120_000,
}, async () => {
  const { ms, server } = await clockAndServer(sandbox);
  const queues = await queuesOf(sandbox);
  const dumps = await Promise.all(APPS.map(async (app) => [app, await dumpOf(sandbox, app)] as const));
  const anonymous = <T>(value: T): T => JSON.parse(JSON.stringify(value).replaceAll(merchant.host, MERCHANT));
  writeInstallation(folder, {
    about: { commit: build ? commitOf(build) : 'present', recordedAtMs: ms, databaseServer: server },
    databases: anonymous(Object.fromEntries(dumps) as Record<AppName, string>),
    queues: anonymous(queues),
    branches: work.branches,
  });
  for (const [app, table, states] of STATES)
    expect([table, await statesOf(sandbox, app, table)]).toEqual([table, expect.arrayContaining([...states])]);
  // A quorum queue has the name of the classic queue of an earlier version, and a suffix.
  const filled = queues.filter(({ messages }) => messages.length > 0).map(({ name }) => name.replace(/\.quorum$/, ''));
  expect(filled).toEqual(expect.arrayContaining(QUEUES));
  // The transaction that is presumed aborted has one branch or two: the second may be prepared before the answer is lost.
  expect(new Set(work.branches.map(({ gtrid }) => gtrid)).size).toBe(3);
  for (const app of ['payment', 'inventory'])
    expect(work.branches.filter((branch) => branch.app === app).length).toBeGreaterThanOrEqual(2);
  expect(readInstallation(folder, (text) => text).queues).toEqual(anonymous(queues));
  expect(aboutOf(folder).recordedAtMs).toBe(ms);
});
