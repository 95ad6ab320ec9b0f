import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { NotificationProbe } from '../fixtures/notification-probe.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

const PRELOAD = pathToFileURL(join(ROOT, 'test', 'fixtures', 'dns-rebinding.mjs')).href;
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let queue: NotificationProbe;
let target: Target;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_private');
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, NODE_OPTIONS: `--import=${PRELOAD}` };
  // The public address answers nothing here: one attempt waits so long for it, and every look-up has to be quicker.
  shop = new Stack(sandbox, {
    env,
    options: { core: { scanIntervalMs: 50 }, notify: { ...NOTIFY_TIMES, callTimeoutMs: 2_000 } },
  });
  await shop.start(['payment']);
  probe = await QueueProbe.open(sandbox);
  queue = new NotificationProbe(sandbox, probe);
  target = await Target.start();
});

afterAll(async () => {
  if (shop) await Operator.closeEverything(shop);
  await shop?.stop();
  await probe?.close();
  await target?.close();
});

/** The target's own port under another name of this machine. */
const at = (host: string) => target.url('/private').replace('127.0.0.1', host);

test.each([
  '127.0.0.1',
  '127.1',
  '0x7f000001',
  '2130706433',
  '0177.0.0.1',
  '0',
  'localhost',
  'LOCALHOST',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::]',
  'local.test',
])('%s is not called; a person is asked', async (host) => {
  const id = await queue.tell(at(host));
  const parked = await queue.untilState(id, 'PARKED');
  expect([parked.attempts, parked.last_error]).toEqual([0, expect.stringMatching(/not public/)]);
  expect(await new Operator(shop, 'payment').alertsOf(id)).toHaveLength(1);
  expect(target.calls).toEqual([]);
});

test('a name that resolves to this machine at its second look-up is not called', async () => {
  const id = await queue.tell(at('turning.test'));
  const parked = await queue.untilState(id, 'PARKED');
  expect(parked.last_error).toMatch(/127\.0\.0\.1 is not public/);
  expect(target.calls).toEqual([]);
});

test('every invariant holds after the tests', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check: { violations: string[] }) => check.violations)).toEqual([]);
});
