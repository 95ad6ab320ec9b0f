import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Relay } from '../../../libs/dtx/src/local-message/relay.js';
import { built } from '../../fixtures/built-library.js';
import { leaveBehind } from '../../fixtures/left-behind-message.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const RELAY: { Relay: new (...args: never[]) => Relay } = built('local-message/relay.js');
const GATE = 'stop-gate';
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('stop', { audited: false });
  service = await LittleService.start({ sandbox, library, core: { lockWaitSeconds: 20, statementTimeoutMs: 20_000 } });
});

afterAll(() => service?.close());

test('a stop waits for the scan in flight, and the rows that it claims are due at once for other instances', async () => {
  const gate = await createConnection(sandbox.databases.payment);
  await gate.query('DO GET_LOCK(?, 0)', [GATE]);
  // A claim waits at the gate between its look and its commit.
  await sql(
    sandbox,
    'payment',
    `CREATE TRIGGER gate BEFORE UPDATE ON dtx_outbox FOR EACH ROW
     SET @passed = IF(NEW.claim_token IS NULL, 1, GET_LOCK('${GATE}', 30) + RELEASE_LOCK('${GATE}'))`,
  );
  const id = await leaveBehind(sandbox, { app: 'payment', contract: 'test.nobody', consumer: 'payment.nobody' });
  await until('the claim waits', async () => {
    const waiting = `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'`;
    return (await sql(sandbox, 'payment', waiting)).length > 0;
  });
  let isStopped = false;
  const stopped = service
    .get(RELAY.Relay as never as new () => Relay)
    .onModuleDestroy()
    .then(() => {
      isStopped = true;
    });
  await sql(sandbox, 'payment', 'SELECT 1');
  expect(isStopped).toBe(false);
  await gate.query('DO RELEASE_LOCK(?)', [GATE]);
  await stopped;
  const [row] = await sql(
    sandbox,
    'payment',
    'SELECT state, claim_token AS token, next_attempt_at <= UTC_TIMESTAMP(3) AS isDue FROM dtx_outbox WHERE id = ?',
    [id],
  );
  expect(row).toEqual({ state: 'PENDING', token: null, isDue: 1 });
  await gate.end();
});
