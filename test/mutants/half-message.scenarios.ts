import { createConnection } from 'mysql2/promise';
import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { Operator } from '../fixtures/operator.js';
import { TestPublisher } from '../fixtures/outbox-message-copies.js';
import { statementsNow } from '../fixtures/running-statements.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { isSent, sell, sold, takes, verdicts } from '../half-message/sale-and-verdict.js';
import {
  checkIsARead,
  countsByXDeath,
  lastLevelDrops,
  lateIsLet,
  lossSeenBefore,
  noSweeper,
  parkedByACopy,
  verdictApart,
} from './half-message.mutants.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

const NEVER_MS = 3_600_000;
const SOLD = 'dtx.order.record-flash-sale.v1';

const times = (halfMessage: object) => ({
  ...SHORT_TIMES,
  halfMessage: { markDelayMs: 1, sweepAfterMs: NEVER_MS, ...halfMessage },
});

/** One inventory app, armed, with something on its shelf. */
async function inventory({ shop }: Stage, failpoints: string, options: object): Promise<AppProcess> {
  const [app] = await shop.start(['inventory'], { failpoints, options: times(options) });
  await shop.stock('book', 10);
  return app!;
}

const untilSent = ({ sandbox }: Stage) =>
  until('message of a committed sale is SENT', async () => (await verdicts(sandbox)).some(isSent), {
    withinMs: 15_000,
  });

async function openDuringCheck(stage: Stage): Promise<Claim> {
  // Open at the first check, however late that comes, and dead before the second.
  const levelsMs = [500, 6_000];
  const armed = 'half-message.opened=1*delay(5000);half-message.committed=crash';
  const victim = await inventory(stage, armed, { levelsMs });
  await sell(victim, 'one').catch(() => {}); // the answer dies with the process
  await victim.untilExited();
  expect(await verdicts(stage.sandbox)).toMatchObject([{ state: 'COMMITTED' }]);
  await stage.shop.start(['inventory'], { options: times({ levelsMs }) });
  return async () => {
    await untilSent(stage);
  };
}

async function diesInTransaction(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  const levelsMs = [500, 500];
  const victim = await inventory(stage, 'half-message.opened=crash', { levelsMs });
  await sell(victim, 'one').catch(() => {});
  await victim.untilExited();
  await shop.start(['inventory'], { options: times({ levelsMs }) });
  await until('the prepared message has its verdict', async () =>
    (await verdicts(sandbox)).some(({ state }) => state !== 'COMMITTED'),
  );
  return async () => {
    expect(await sql(sandbox, 'inventory', 'SELECT * FROM stock_take')).toEqual([]);
    expect((await messagesIn(sandbox, SOLD)) ?? 0, 'messages of a sale whose stock was never taken').toBe(0);
  };
}

/** The app checks its own prepared message before its local transaction has begun. */
async function comesTooLate(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const late = await inventory(stage, 'half-message.prepared=1*delay(6000)', { levelsMs: [500, 500] });
  const answer = await sell(late, 'one');
  return async () => {
    const [verdict] = await verdicts(sandbox);
    expect(verdict!.state).toBe('ROLLED_BACK');
    expect(await takes(sandbox, verdict!.gid), 'stock taken by a sale that was ruled back').toEqual([]);
    expect(answer.status).toBe(503);
    await sold(late, 'one');
  };
}

async function openForEver(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const stuck = await inventory(stage, 'half-message.opened=1*delay(60000)', { levelsMs: [300, 400] });
  void sell(stuck, 'one').catch(() => {});
  return async () => {
    const parked = () => sql(sandbox, 'inventory', `SELECT id FROM dtx_half_parked WHERE state = 'PARKED'`);
    await until('an exhausted prepared message is parked', async () => (await parked()).length === 1, {
      withinMs: 8_000,
    });
    expect(await sql(sandbox, 'inventory', 'SELECT id FROM dtx_alert WHERE closed_at IS NULL')).toHaveLength(1);
  };
}

/** As if the ack of the parked copy had been lost, and an operator had been quicker than the broker. */
async function comesAgainAfterTheOperator(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  const armed = 'half-message.opened=1*delay(60000);half-message.exhausted=delay(0)';
  const stuck = await inventory(stage, armed, { levelsMs: [300] });
  void sell(stuck, 'one').catch(() => {});
  const parked = () =>
    sql<{ id: string; message: string; state: string }>(sandbox, 'inventory', 'SELECT * FROM dtx_half_parked');
  const { id, message } = await until('it is parked', async () => (await parked())[0]);
  expect((await new Operator(shop, 'inventory').resolve(id, 'done')).status).toBe(200);
  const publisher = await TestPublisher.open(sandbox);
  const copy = JSON.stringify({ checks: 0, message: JSON.parse(message) });
  await publisher.publish('dtx.inventory.half-check.v1', copy);
  await publisher.close();
  await until('the copy had its check', async () => stuck.hits().length === 3);
  return async () => {
    expect((await parked())[0]!.state, 'state of the resolved message').toBe('DONE');
  };
}

async function copyIsLost(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  const options = { levelsMs: [NEVER_MS], sweepAfterMs: 500 };
  const victim = await inventory(stage, 'half-message.committed=crash', options);
  await sell(victim, 'one').catch(() => {});
  await victim.untilExited();
  await deleteQueue(sandbox, `dtx.inventory.half-wait.${NEVER_MS}ms.v1`);
  await shop.start(['inventory'], { options: times(options) });
  return async () => {
    await untilSent(stage);
    expect(await messagesIn(sandbox, SOLD)).toBe(1);
  };
}

/** The check of the verdicts has seen a loss, and waits for the operator who is resolving it. */
async function resolvedWhileReported({ shop, sandbox }: Stage): Promise<Claim> {
  const options = { ...times({}), core: { ...SHORT_TIMES.core, purgeIntervalMs: 100 } };
  await shop.start(['inventory'], { options });
  await sql(
    sandbox,
    'inventory',
    'INSERT INTO dtx_half_mark (one, id, created_at) VALUES (1, UUID(), UTC_TIMESTAMP(3))',
  );
  const loss = () => sql<{ state: string }>(sandbox, 'inventory', 'SELECT state FROM dtx_half_parked');
  await until('the loss is reported', async () => (await loss()).length === 1);
  const operator = await createConnection({ uri: sandbox.databases.inventory });
  await operator.beginTransaction();
  await operator.query(`UPDATE dtx_half_parked SET state = 'DONE', next_attempt_at = NULL`);
  await operator.query('DELETE FROM dtx_half_mark');
  const reports = () => statementsNow(sandbox, 'inventory', '%INTO dtx_half_parked%');
  await until('it is to be reported again', async () => (await reports()) === 1);
  await operator.commit();
  await operator.end();
  await until('the report is over', async () => (await reports()) === 0);
  await shop.of('inventory').stop();
  return async () => {
    expect(await loss(), 'state of the resolved loss').toEqual([{ state: 'DONE' }]);
  };
}

export const halfMessageScenarios: Scenario[] = [
  {
    promise: 'a message whose local transaction was open at its check is delivered although its process died then',
    mutants: [checkIsARead],
    play: openDuringCheck,
  },
  {
    promise: 'a process that dies inside its local transaction has sent nothing',
    mutants: [verdictApart],
    play: diesInTransaction,
  },
  {
    promise: 'a local transaction that begins after its check has ruled changes nothing',
    mutants: [lateIsLet],
    play: comesTooLate,
  },
  {
    promise: 'a transaction that is open at every check raises an alert',
    mutants: [lastLevelDrops, countsByXDeath],
    play: openForEver,
  },
  {
    promise: 'a parked prepared message that an operator has resolved stays resolved when it comes again',
    mutants: [parkedByACopy],
    play: comesAgainAfterTheOperator,
  },
  {
    promise: 'a loss of verdicts that an operator resolves stays resolved',
    mutants: [lossSeenBefore],
    play: resolvedWhileReported,
  },
  {
    promise: 'a committed message is sent although its process died and an operator deleted the waiting queue',
    mutants: [noSweeper],
    play: copyIsLost,
  },
];
