import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DurableRow } from '../../../libs/dtx/src/core/durable/durable-table.js';
import type { DurableWork, Tried } from '../../../libs/dtx/src/core/durable/durable-work.js';
import { built } from '../../fixtures/built-library.js';
import { leaveBehind } from '../../fixtures/left-behind-message.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until, untilPassed } from '../../fixtures/until.js';
import { ClaimGate } from './claim-gate.js';

type Loops = typeof import('../../../libs/dtx/src/core/durable/durable-loop.js');
type Tables = typeof import('../../../libs/dtx/src/local-message/outbox-table.js');
type AlertsModule = typeof import('../../../libs/dtx/src/core/durable/alerts.js');
const library = libraryOf();
const { DurableLoop }: Loops = built('core/durable/durable-loop.js');
const { Alerts }: AlertsModule = built('core/durable/alerts.js');
const { concurrencyKey: _, ...TABLE } = (built('local-message/outbox-table.js') as Tables).OUTBOX;
/** No regular scan comes within a bound of the tests. */
const INTERVAL_MS = 30_000;
const SOON = { withinMs: 10_000 };
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('asked_during_scan', { audited: false });
  // Nothing but the loop of a test claims rows.
  service = await LittleService.start({
    sandbox,
    library,
    core: { relay: false, lockWaitSeconds: 20, statementTimeoutMs: 20_000 },
  });
});
afterAll(() => service?.close());

const row = () => leaveBehind(sandbox, { app: 'payment', contract: 'test.nobody', consumer: 'payment.nobody' });
const done = (id: string) =>
  sql(sandbox, 'payment', `UPDATE dtx_outbox SET state = 'DONE', next_attempt_at = NULL WHERE id = ?`, [id]);

/** A loop that notes the rows that it begins, and ends them when `held` does. */
function loopOf({ concurrencyMax = 10, held = (): Promise<unknown> => Promise.resolve() } = {}) {
  const begun: string[] = [];
  const scans = { count: 0 };
  const run = async ({ id }: DurableRow): Promise<Tried> => {
    begun.push(id);
    await held();
    await done(id);
    return { kind: 'settled' };
  };
  const work: DurableWork<DurableRow> = {
    scheme: 'test',
    table: TABLE,
    leaseMs: 60_000,
    scanIntervalMs: INTERVAL_MS,
    concurrencyMax,
    attemptsMax: 3,
    backoff: { firstMs: 100, factor: 1, capMs: 100 },
    canRun: () => ++scans.count > 0,
    run,
    describe: () => null,
  };
  return { begun, scans, loop: new DurableLoop(work, service.get(library.Database), service.get(Alerts)) };
}

test('a scan that is asked for during a scan is made after it, since the first may have looked before', async () => {
  const gate = await ClaimGate.close(sandbox);
  const { begun, loop } = loopOf();
  const first = await row();
  loop.start();
  await gate.claimWaits();
  const second = await row();
  loop.wake();
  await gate.open();
  await until('the second row runs', () => begun.includes(second), SOON);
  expect(begun).toEqual([first, second]);
  await loop.stop();
});

test('a delayed row that comes due during a scan is taken after it, although another scan was asked for', async () => {
  const gate = await ClaimGate.close(sandbox);
  const { begun, loop } = loopOf();
  await row();
  loop.start();
  await gate.claimWaits();
  const second = await row();
  loop.dueIn(1);
  await untilPassed(performance.now(), 50);
  loop.wake();
  await gate.open();
  await until('the second row runs', () => begun.includes(second), SOON);
  await loop.stop();
});

test('a scan that finds all places taken leaves word: the next row that ends makes the scan', async () => {
  const ends: Array<() => void> = [];
  const { begun, scans, loop } = loopOf({ concurrencyMax: 1, held: () => new Promise<void>((end) => ends.push(end)) });
  const first = await row();
  loop.start();
  await until('the first row runs', () => begun.includes(first), SOON);
  const second = await row();
  // As a regular scan, or one for an operator.
  const before = scans.count;
  loop.wake();
  await until('a scan finds no place', () => scans.count > before);
  ends[0]!();
  await until('the second row runs', () => begun.includes(second), SOON);
  ends[1]!();
  await loop.stop();
});
