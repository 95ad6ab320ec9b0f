import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { ROOT } from '../fixtures/app-process.js';
import { NOTIFY_QUEUE, NotificationProbe } from '../fixtures/notification-probe.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { until } from '../fixtures/until.js';
import { NO_RESEND, placed } from './local-message-purchase.js';
import { ackBeforePublish, checkedBeforehand, noEventId, noKeyShares, redirectsFollowed } from './notify.mutants.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

const OPTIONS = { core: SHORT_TIMES.core, notify: NOTIFY_TIMES };
const ENV = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };

/** The payment app alone is the notification service. The test is the publisher and the target. */
async function service({ shop, sandbox, keep }: Stage, { env = {}, notify = {} } = {}) {
  const options = { ...OPTIONS, notify: { ...NOTIFY_TIMES, ...notify } };
  await shop.start(['payment'], { options, env: { ...ENV, ...env } });
  const probe = keep(await QueueProbe.open(sandbox));
  return { probe, queue: new NotificationProbe(sandbox, probe), target: keep(await Target.start()) };
}

async function toldTwice(stage: Stage): Promise<Claim> {
  const { probe, queue, target } = await service(stage);
  const calls = () => target.calls.filter(({ path }) => path === '/one');
  const id = await queue.tell(target.url('/one'), { id: 'event.one' });
  await until('the target is called', () => calls().length > 0);
  await queue.tell(target.url('/one'), { id });
  await until('the duplicate is taken', async () => (await probe.waiting(NOTIFY_QUEUE)) === 0);
  await queue.tell(target.url('/behind'));
  await until('the later event is delivered', () => target.calls.some(({ path }) => path === '/behind'));
  return async () => {
    expect(calls(), 'calls of one event').toHaveLength(1);
  };
}

async function redirected(stage: Stage): Promise<Claim> {
  const { queue, target } = await service(stage);
  const id = await queue.tell(
    target.behave('/moved', (response) => response.writeHead(307, { location: '/there' }).end()),
  );
  await until('it has been called twice', () => target.of(id).length >= 2);
  return async () => {
    const there = target.calls.filter(({ path }) => path === '/there');
    expect(there, 'calls at the place of the redirect').toEqual([]);
  };
}

async function turning(stage: Stage): Promise<Claim> {
  const preload = pathToFileURL(join(ROOT, 'test', 'fixtures', 'dns-rebinding.mjs')).href;
  const env = { DTX_NOTIFY_ALLOW: '', NODE_OPTIONS: `--import=${preload}` };
  const { queue, target } = await service(stage, { env, notify: { callTimeoutMs: 500 } });
  const id = await queue.tell(target.url('/private').replace('127.0.0.1', 'turning.test'));
  await until('it is over', async () => /DELIVERED|PARKED/.test((await queue.row(id))?.state ?? ''));
  return async () => {
    expect(target.calls, 'calls of a private target').toEqual([]);
  };
}

async function diesBeforePublishing({ shop, keep }: Stage): Promise<Claim> {
  const target = keep(await Target.start());
  const env = { ...ENV, DTX_NOTIFY_URL: target.url('/told') };
  const options = { ...NO_RESEND, notify: NOTIFY_TIMES };
  const [[order], [victim]] = await Promise.all([
    shop.start(['order', 'inventory'], { options, env: ENV }),
    shop.start(['payment'], { options, env, failpoints: 'notify.committed=crash' }),
  ]);
  const warm = { options, env };
  await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 10)]);
  const orderId = await placed(order!, 'one');
  await victim!.untilExited();
  await shop.start(['payment'], warm);
  return async () => {
    const isTold = () => target.of(`${orderId}.CAPTURED`).length > 0;
    await until('the target hears of the payment', isTold, { withinMs: 15_000 });
  };
}

async function hanging(stage: Stage): Promise<Claim> {
  const notify = { callTimeoutMs: 60_000, concurrencyMax: 8, targetConcurrencyMax: 2 };
  const { queue, target } = await service(stage, { notify });
  const other = stage.keep(await Target.start());
  const url = target.behave('/hangs', () => {});
  const told: string[] = [];
  for (let n = 0; n < 20; n++) told.push(await queue.tell(url));
  // A target that has never answered has one place. Without shares all twenty calls want a place by now.
  await until('a call hangs', () => target.calls.length > 0);
  await until('all are recorded', async () => (await Promise.all(told.map((one) => queue.row(one)))).every(Boolean));
  const id = await queue.tell(other.url('/quick'));
  return async () => {
    await until('one target is told while another hangs', () => other.of(id).length > 0, { withinMs: 10_000 });
  };
}

export const notifyScenarios: Scenario[] = [
  { promise: 'an event is delivered once although its message is a duplicate', mutants: [noEventId], play: toldTwice },
  { promise: 'a redirect is not followed', mutants: [redirectsFollowed], play: redirected },
  { promise: 'a private address is never connected to', mutants: [checkedBeforehand], play: turning },
  {
    promise: 'a result whose process dies before publishing is delivered',
    mutants: [ackBeforePublish],
    play: diesBeforePublishing,
  },
  { promise: 'a target that hangs holds up no other', mutants: [noKeyShares], play: hanging },
];
