import { expect } from 'vitest';
import { NackingQueue } from '../core/broker/nacking-queue.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import {
  byId,
  nackIsFinal,
  nackingChannelStays,
  noConfirm,
  noFence,
  noRow,
  notMandatory,
  returnedIsSent,
} from './local-message.mutants.js';
import {
  type MessageRow,
  messageRows,
  NO_RESEND,
  place,
  placed,
  TAKE_STOCK,
  untilMessage,
} from './local-message-purchase.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';
import { twoClaims } from './two-claims.js';

async function diesAfterCommit({ shop, sandbox }: Stage): Promise<Claim> {
  const [victim] = await shop.start(['order'], { options: NO_RESEND, failpoints: 'local-message.committed=crash' });
  await place(victim!, 'one').catch(() => {}); // the answer dies with the process
  await victim!.untilExited();
  const [{ gid: orderId } = { gid: '' }] = await sql<{ gid: string }>(
    sandbox,
    'order',
    'SELECT gid FROM dtx_idempotency',
  );
  await shop.start(['order'], { options: NO_RESEND });
  return async () => {
    expect(await messageRows(sandbox, orderId), 'message rows of a committed order').toHaveLength(1);
    await untilInQueue(sandbox, 1);
  };
}

/** A first purchase, so that connection and declaration are as they are in an app that has run for a while. */
async function warmedUp({ shop, sandbox }: Stage, more: { failpoints?: string; env?: Record<string, string> } = {}) {
  const [order] = await shop.start(['order'], { options: NO_RESEND, ...more });
  await untilMessage(sandbox, await placed(order!, 'first'), 'SENT');
  expect(await messagesIn(sandbox, TAKE_STOCK)).toBe(1);
  return order!;
}

async function nothingReachesTheBroker(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const proxy = stage.keep(await TcpProxy.start(sandbox.rabbitmq));
  // `delay(0)` only logs a hit, which tells that the scan has claimed the row again.
  const order = await warmedUp(stage, {
    failpoints: 'local-message.claimed=delay(0)',
    env: { DTX_RABBITMQ_URL: proxy.url },
  });
  const claimedBefore = order.hits().length;
  proxy.blackHole('to-server');
  const orderId = await placed(order, 'second');
  const state = await until('the message is claimed again or SENT', async () => {
    const [row] = await messageRows(sandbox, orderId);
    return (row!.state !== 'PENDING' || order.hits().length > claimedBefore) && row!.state;
  });
  return async () => {
    expect(state, 'state of a message that the broker has not got').toBe('PENDING');
    proxy.heal();
    await untilInQueue(sandbox, 2);
  };
}

async function queueWasDeleted(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const order = await warmedUp(stage);
  await deleteQueue(sandbox, TAKE_STOCK);
  await untilMessage(sandbox, await placed(order, 'second'), 'SENT');
  return async () => {
    expect(await messagesIn(sandbox, TAKE_STOCK), 'message in the queue that it was SENT to').toBe(1);
  };
}

async function queueNacksForAWhile({ sandbox, root, keep }: Stage): Promise<Claim> {
  const queue = keep(await NackingQueue.open(sandbox, { root }));
  const { channel } = queue;
  const sending = queue.publish('nacked');
  sending.catch(() => {}); // awaited below
  return async () => {
    await queue.untilLeft(channel);
    await queue.takeMessages();
    await sending;
  };
}

/**
 * Two transactions that commit in the reverse order of their ids. Neither uses the fast path: the early one dies before
 * it and the late one fails in it. Both rows are left to the scan of the living instance.
 */
async function commitsOutOfOrder({ shop, sandbox }: Stage): Promise<Claim> {
  const start = (failpoints: string) => shop.start(['order'], { options: NO_RESEND, failpoints });
  const [[early], [late]] = (await Promise.all([
    start('local-message.appended=1*pause;local-message.committed=crash'),
    start('local-message.confirmed=1*error'),
  ])) as [[AppProcess], [AppProcess]];
  void place(early, 'early').catch(() => {});
  await until('the early row is inserted', () => early.hits().includes('local-message.appended'));
  const lateId = await placed(late, 'late');
  await untilMessage(sandbox, lateId, 'SENT');
  early.signal('SIGCONT');
  await early.untilExited();
  const ofOrders = `SELECT id, gid, state FROM dtx_outbox WHERE contract = 'order.placed' ORDER BY id`;
  const rows = await sql<MessageRow>(sandbox, 'order', ofOrders);
  expect(rows.map((row) => row.gid === lateId)).toEqual([false, true]);
  return async () => {
    const sent = async () => (await messageRows(sandbox, rows[0]!.gid))[0]!.state === 'SENT';
    await until('the row that was committed last is sent', sent, { withinMs: 20_000 });
  };
}

function untilInQueue(sandbox: Stage['sandbox'], count: number): Promise<unknown> {
  const arrived = async () => (await messagesIn(sandbox, TAKE_STOCK)) === count;
  return until(`${count} in the queue`, arrived, { everyMs: 100 });
}

export const senderScenarios: Scenario[] = [
  {
    promise: 'a message of a committed order is sent although its process died right after the commit',
    mutants: [noRow],
    play: diesAfterCommit,
  },
  {
    promise: 'a message without a publisher confirm is not SENT, and is sent after the network has healed',
    mutants: [noConfirm],
    play: nothingReachesTheBroker,
  },
  {
    promise: 'a message to a queue that was deleted since it was declared is SENT only when it is in the queue',
    mutants: [returnedIsSent, notMandatory],
    play: queueWasDeleted,
  },
  {
    promise: 'a message that is nacked for a moment is sent on another channel',
    mutants: [nackIsFinal, nackingChannelStays],
    play: queueNacksForAWhile,
  },
  {
    promise: 'a row is sent even if it is committed after a row with a larger id was sent',
    mutants: [byId],
    play: commitsOutOfOrder,
  },
  { promise: 'a process that has lost its claim cannot settle the row', mutants: [noFence], play: twoClaims },
];
