import { afterAll, beforeAll, expect, test } from 'vitest';
import { management } from '../../../tools/src/servers/broker-api.js';
import { contractOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'full');
const ABSENT_MS = 1_500;
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('full_queue', { audited: false });
  // Each publish is rejected with a nack: no message fits. A quorum queue of no length still takes a first message.
  await management(sandbox.management, 'PUT', `/policies/${encodeURIComponent(sandbox.vhost)}/full`, {
    pattern: '^dtx\\.payment\\.full\\.',
    definition: { 'max-length': 0, overflow: 'reject-publish' },
    'apply-to': 'queues',
  });
  const localMessage = { absentMs: ABSENT_MS, attemptsMax: 3, resend: { firstMs: 100, factor: 1, capMs: 100 } };
  service = await LittleService.start({ sandbox, library, localMessage, core: { leaseMs: 300, queues: 'classic' } });
});

afterAll(() => service?.close());

interface Row {
  state: string;
  attempts: number;
  last_error: string | null;
}
const row = async () =>
  (await sql<Row>(sandbox, 'payment', `SELECT state, attempts, last_error FROM dtx_outbox WHERE gid = 'full'`))[0]!;

test('a message to a queue that stays full counts no attempt at first, and is parked with one alert in the end', async () => {
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid: 'full' }));
  expect((await row()).attempts).toBe(0);
  await until('it is parked', async () => (await row()).state === 'PARKED');
  expect((await row()).last_error).toMatch(/RabbitMQ rejected the message \(nack\)/);
  const alerts = await sql<{ afterMs: number }>(
    sandbox,
    'payment',
    `SELECT TIMESTAMPDIFF(MICROSECOND, outbox.created_at, alert.opened_at) DIV 1000 AS afterMs
     FROM dtx_alert alert JOIN dtx_outbox outbox ON outbox.id = alert.subject_id WHERE alert.gid = 'full'`,
  );
  expect(alerts).toHaveLength(1);
  expect(Number(alerts[0]!.afterMs)).toBeGreaterThan(ABSENT_MS);
});
