import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Relay } from '../../../libs/dtx/src/local-message/relay.js';
import { built } from '../../fixtures/built-library.js';
import { leaveBehind } from '../../fixtures/left-behind-message.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { ClaimGate } from './claim-gate.js';

const library = libraryOf();
const RELAY: { Relay: new (...args: never[]) => Relay } = built('local-message/relay.js');
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('stop', { audited: false });
  service = await LittleService.start({ sandbox, library, core: { lockWaitSeconds: 20, statementTimeoutMs: 20_000 } });
});

afterAll(() => service?.close());

test('a stop waits for the scan in flight, and the rows that it claims are due at once for other instances', async () => {
  const gate = await ClaimGate.close(sandbox);
  const id = await leaveBehind(sandbox, { app: 'payment', contract: 'test.nobody', consumer: 'payment.nobody' });
  await gate.claimWaits();
  let isStopped = false;
  const stopped = service
    .get(RELAY.Relay as never as new () => Relay)
    .onModuleDestroy()
    .then(() => {
      isStopped = true;
    });
  await sql(sandbox, 'payment', 'SELECT 1');
  expect(isStopped).toBe(false);
  await gate.open();
  await stopped;
  const [row] = await sql(
    sandbox,
    'payment',
    'SELECT state, claim_token AS token, next_attempt_at <= UTC_TIMESTAMP(3) AS isDue FROM dtx_outbox WHERE id = ?',
    [id],
  );
  expect(row).toEqual({ state: 'PENDING', token: null, isDue: 1 });
});
