import { Redis } from 'ioredis';
import { afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { alertsOf, messageStateOf } from './outbox-inbox-alerts.js';

const library = libraryOf();
/** More than the ten listeners of one event that Node allows without a warning. */
const CONSUMERS = 12;
let sandbox: Sandbox;
const warnings: string[] = [];
const warn = ({ name, message }: Error) => void warnings.push(`${name}: ${message}`);

beforeAll(async () => {
  sandbox = await freshSandbox('one_redis_client', { audited: false });
  process.on('warning', warn);
});

afterEach(() => void process.off('warning', warn));

test('many consumers with duplicates in Redis share one client without a warning of Node', async () => {
  const handled: string[] = [];
  const contracts = Array.from({ length: CONSUMERS }, (_, n) => contractOf(library, `redis-${n}`));
  const methods = contracts.map((contract) => {
    const handle = async (_: unknown, { gid }: { gid: string }) => void handled.push(gid);
    return [library.OnMessage(contract, { duplicates: 'redis' }), handle] as const;
  });
  const service = await LittleService.start({ sandbox, library, controllers: [controllerOf(methods)] });
  try {
    // Warnings are emitted in a later tick of the process than the listeners are added.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  } finally {
    await service.close();
  }
});

test('a consumer with `duplicates: redis` sends the receipt of a handled message', async () => {
  const contract = contractOf(library, 'by-redis');
  let handled = 0;
  const handle = async () => void handled++;
  const controllers = [controllerOf([[library.OnMessage(contract, { duplicates: 'redis' }), handle]])];
  const localMessage = { resend: { firstMs: 200, factor: 1, capMs: 200 }, attemptsMax: 5 };
  const service = await LittleService.start({ sandbox, library, controllers, localMessage });
  onTestFinished(() => service.close());
  const gid = 'by-redis';
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
  await until('it is over', async () => /DONE|PARKED/.test((await messageStateOf(sandbox, gid)) ?? ''), {
    withinMs: 60_000,
  });
  expect([await messageStateOf(sandbox, gid), handled, await alertsOf(sandbox, gid)]).toEqual(['DONE', 1, []]);
});

test('the mark of a handled message has the prefix of its environment, and outlasts each message that may come', async () => {
  const contract = contractOf(library, 'marked');
  const handle = async () => {};
  const controllers = [controllerOf([[library.OnMessage(contract, { duplicates: 'redis' }), handle]])];
  const [retentionMs, anHourMs] = [120_000, 3_600_000];
  const core = { queuePrefix: 'staging', inbox: { retentionMs }, redis: { doneTtlMs: 1_000 } };
  const service = await LittleService.start({ sandbox, library, controllers, core });
  onTestFinished(() => service.close());
  const messages = service.get(library.LocalMessages);
  const id = await service.source.transaction((tx) => messages.append(tx, contract, { gid: 'marked' }));
  const redis = new Redis(sandbox.redis);
  onTestFinished(() => redis.disconnect());
  const key = `staging:${contract.consumers[0]}:${id}`;
  await until('the message is done', async () => (await redis.get(key)) === 'done');
  expect(await redis.pttl(key)).toBeGreaterThan(retentionMs + anHourMs - 60_000);
});
