import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const slow = contractOf(library, 'slow');
const BACKLOG_MAX = 20;
const ROWS = 5_000;
const ABSENT_MS = 60_000;
const QUEUE = 'dtx.payment.slow.v1';
let sandbox: Sandbox;
let service: LittleService;
let release: () => void;
const released = new Promise<void>((resolve) => (release = resolve));

beforeAll(async () => {
  sandbox = await freshSandbox('backlogged_queue', { audited: false });
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(slow), () => released]])],
    localMessage: {
      backlogMax: BACKLOG_MAX,
      absentMs: ABSENT_MS,
      resend: { firstMs: 10_000, factor: 1, capMs: 10_000 },
    },
    core: { prefetch: 1 },
  });
  const { publisher } = service.get(library.Broker);
  for (let n = 0; n < 2 * BACKLOG_MAX; n++)
    await publisher.publish(QUEUE, Buffer.from('{"gid":"queued"}'), {
      messageId: randomUUID(),
      type: 'test.slow.v1',
      gid: 'queued',
      scheme: 'test',
    });
});
afterAll(async () => {
  release();
  await service?.close();
});

const countOf = async (table: string, where: string) =>
  Number((await sql<{ n: number }>(sandbox, 'payment', `SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`))[0]!.n);

/** Rows that were sent so long ago that each of them alone would raise an alert. */
async function leaveSent(version: number, count: number): Promise<void> {
  const rows = Array.from({ length: count }, () => [randomUUID(), version]);
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox
       (id, version, gid, contract, payload, awaiting, state, attempts, next_attempt_at, created_at, sent_at)
     VALUES ${rows
       .map(
         () => `(?, 'left', 'test.slow', '{"gid":"left"}', ',payment.slow,', 'SENT', 1, UTC_TIMESTAMP(3),
       UTC_TIMESTAMP(3) - INTERVAL 1 HOUR, UTC_TIMESTAMP(3) - INTERVAL 1 HOUR)`,
       )
       .join(', ')}`,
    rows,
  );
}

test('the sent messages of a backlogged queue are postponed together, with one alert and without an attempt', async () => {
  await leaveSent(1, ROWS);
  const waits = `last_error LIKE 'not resent: a consumer queue holds ${BACKLOG_MAX} or more messages%'`;
  const unchanged = `attempts = 1 AND state = 'SENT' AND claim_token IS NULL`;
  for (let round = 0; round < 3; round++) {
    await sql(sandbox, 'payment', 'UPDATE dtx_outbox SET next_attempt_at = UTC_TIMESTAMP(3), last_error = NULL');
    await until('they are postponed', async () => (await countOf('dtx_outbox', `${waits} AND ${unchanged}`)) === ROWS);
  }
  expect(await countOf('dtx_alert', 'closed_at IS NULL')).toBe(1);
});

test('messages to another version of a backlogged queue are not postponed with it', async () => {
  await leaveSent(1, ROWS);
  await leaveSent(2, 5);
  await until('they are tried', async () => (await countOf('dtx_outbox', 'version = 2 AND attempts > 1')) === 5);
  expect(await countOf('dtx_outbox', `version = 2 AND last_error LIKE 'not resent%'`)).toBe(0);
});
