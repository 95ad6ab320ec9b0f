import type { EntityManager } from 'typeorm';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';
import { Wire } from './broker-clients.js';

const PREFETCH = 4;
const PACKET = 16 * 1024 * 1024;
const library = libraryOf();
let sandbox: Sandbox;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('unstorable', { audited: false });
  probe = await QueueProbe.open(sandbox);
  return () => probe.close();
});

interface Row {
  readonly state: string;
  readonly last_error: string;
}
const rowsOf = (consumer: string) =>
  sql<Row>(sandbox, 'payment', 'SELECT state, last_error FROM dtx_inbox WHERE consumer = ?', [consumer]);
const alertsAbout = async (like: string) =>
  (await sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE subject_id LIKE ? AND closed_at IS NULL', [like]))
    .length;

// This test comes before the next one, which makes the column `body` small.
test('a large message that cannot be stored for a passing reason keeps its body', async () => {
  const contract = contractOf(library, 'keeps-body');
  const text = 'x'.repeat(700_000);
  const lengths: number[] = [];
  const measure = async (_: EntityManager, message: { text: string }) => {
    if (lengths.push(message.text.length) === 1) throw new Error('the first time');
  };
  const localMessage = { payloadMaxBytes: 1_000_000 };
  const service = await LittleService.start({
    sandbox,
    library,
    core: { ownPoolSize: 1 },
    localMessage,
    controllers: [controllerOf([[library.OnMessage(contract), measure]])],
  });
  onTestFinished(() => service.close());
  await service.source.transaction((tx) =>
    service.get(library.LocalMessages).append(tx, contract, { gid: 'keeps-body', text }),
  );
  // The session that would store it leads to a server that takes no writes, as after a switchover.
  await service.get(library.Database).own.query('SET SESSION TRANSACTION READ ONLY');
  await until('it is handled', async () => {
    const rows = await rowsOf('payment.keeps-body');
    return rows.length === 1 && rows[0]!.state === 'HANDLED';
  });
  expect(lengths.length).toBeGreaterThan(1);
  expect(new Set(lengths)).toEqual(new Set([text.length]));
});

test('a delivery with a body that no column takes is parked without it and does not block the deliveries behind it', async () => {
  const unreadable = contractOf(library, 'unreadable');
  const failing = contractOf(library, 'failing');
  const handled: string[] = [];
  const service = await LittleService.start({
    sandbox,
    library,
    core: { prefetch: PREFETCH },
    controllers: [
      controllerOf([
        [library.OnMessage(unreadable), async (_: unknown, { gid }: { gid: string }) => void handled.push(gid)],
        [
          library.OnMessage(failing),
          async () => {
            throw new Error('the handler fails');
          },
        ],
      ]),
    ],
  });
  onTestFinished(() => service.close());
  // 64 KiB, where the library's own is 16 MiB. A larger value is refused like any value that a column does not take.
  await sql(sandbox, 'payment', 'ALTER TABLE dtx_inbox MODIFY body BLOB NULL');
  const queue = 'dtx.payment.unreadable.v1';
  const large = 'x'.repeat(100_000);
  const typed = (name: string, messageId: string) => ({ messageId, type: `test.${name}.v1`, correlationId: messageId });
  for (let n = 0; n < 3 * PREFETCH; n++) await probe.publish(queue, large, typed('unreadable', `large-${n}`));
  await probe.publish(queue, JSON.stringify({ gid: 'good' }), typed('unreadable', 'good'));
  const body = JSON.stringify({ gid: 'fails', text: large });
  await probe.publish('dtx.payment.failing.v1', body, typed('failing', 'fails'));

  await until('the good one is handled', () => handled.includes('good'));
  const isParked = ({ state }: Row) => state === 'PARKED';
  await until('all others are parked', async () => {
    const rows = [...(await rowsOf('payment.unreadable')), ...(await rowsOf('payment.failing'))];
    return rows.filter(isParked).length === 3 * PREFETCH + 1;
  });
  for (const { last_error } of (await rowsOf('payment.unreadable')).filter(isParked))
    expect(last_error).toMatch(
      /not JSON.*cannot be stored.*its body of 100000 bytes \(SHA-256 [0-9a-f]{64}\) is not stored/,
    );
  expect((await rowsOf('payment.failing'))[0]!.last_error).toContain('is not stored');
  expect(await alertsAbout('large-%')).toBe(3 * PREFETCH);
  expect(await alertsAbout('fails.%')).toBe(1);
  await until('none is left', async () => (await probe.waiting(queue)) === 0);
});

test('a notification above max_allowed_packet is parked without its body', async () => {
  const shop = new Stack(sandbox);
  onTestFinished(() => shop.stop());
  const [{ max } = { max: 0 }] = await sql<{ max: number }>(
    sandbox,
    'payment',
    'SELECT @@GLOBAL.max_allowed_packet AS max',
  );
  // RabbitMQ 4 takes no message above 16 MiB, so a larger packet would take every notification.
  if (Number(max) > PACKET) await sql(sandbox, 'payment', `SET GLOBAL max_allowed_packet = ${PACKET}`);
  await shop.start(['payment'], { env: { DTX_NOTIFY_SECRET: 'a-secret-of-some-length' } });
  const note = (id: string, text: string) =>
    JSON.stringify({
      id,
      gid: id,
      type: 'test',
      target: 'http://127.0.0.1:1/nobody',
      payload: { type: 'test', timestamp: new Date().toISOString(), data: { text } },
    });
  const queue = 'dtx.payment.notify.v1';
  await probe.publish(queue, note('too-large', 'ä'.repeat(Math.min(Number(max), PACKET) / 4 + 500_000)));
  await probe.publish(queue, note('small', 'x'));
  const find = async (id: string) =>
    (await sql<Row>(sandbox, 'payment', 'SELECT state, last_error FROM dtx_notification WHERE id = ?', [id]))[0];
  await until('the small one is recorded', () => find('small'));
  const row = await until('the large one is recorded', () => find('too-large'));
  expect(row.state).toBe('PARKED');
  expect(row.last_error).toMatch(
    /cannot be stored.*bytes \(SHA-256 [0-9a-f]{64}\) is not stored; it was test for http/,
  );
  expect(await alertsAbout('too-large')).toBe(1);
  await until('none is left', async () => (await probe.waiting(queue)) === 0);
});

test('a delivery that cannot be stored in any way comes back with growing waits', async () => {
  const wire = new Wire(sandbox.rabbitmq);
  onTestFinished(() => wire.close());
  let tries = 0;
  wire.consume('dtx.test.hopeless.v1', async () => {
    tries++;
    throw new Error('no such table');
  });
  await until('the publisher is up', () => wire.publisher.isUp);
  await wire.publish('dtx.test.hopeless.v1', 'hopeless');
  const since = performance.now();
  await until('seconds have passed', () => performance.now() - since > 6_000);
  // With a pause of half a second each time it would be twelve.
  expect(tries).toBeGreaterThan(1);
  expect(tries).toBeLessThanOrEqual(6);
});
