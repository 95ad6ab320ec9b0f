import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { deleteQueue, messagesIn, queueState } from '../fixtures/broker-queues.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { ackBeforeCommit, inboxRowApart, noInbox, receiptBeforeCommit } from './local-message.mutants.js';
import {
  deliverOrderPlaced,
  NO_RESEND,
  ORDER_RECEIPTS,
  placed,
  TAKE_STOCK,
  timesTaken,
  untilMessage,
} from './local-message-purchase.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

/** The test is the sender here, so it decides when the second copy is delivered. */
async function duplicateDelivery({ shop, sandbox }: Stage): Promise<Claim> {
  await shop.start(['inventory'], { options: SHORT_TIMES });
  await shop.stock('book', 10);
  const [messageId, orderId] = [randomUUID(), randomUUID()];
  for (const receipts of [1, 2]) {
    await deliverOrderPlaced(sandbox, messageId, orderId);
    await until('a receipt comes for each copy', async () => (await messagesIn(sandbox, ORDER_RECEIPTS)) === receipts);
  }
  return async () => {
    const [stock] = await sql(sandbox, 'inventory', `SELECT sold FROM stock WHERE sku = 'book'`);
    const effects = { times: await timesTaken(sandbox, orderId), sold: Number(stock!.sold) };
    expect(effects, 'effects of one message').toEqual({ times: [1], sold: 1 });
  };
}

/** Order and inventory, the latter stopped where its inbox row is inserted and nothing is committed. */
async function stoppedInTransaction(
  { shop }: Stage,
  action: 'crash' | 'pause',
  options: Record<string, unknown>,
): Promise<{ orderId: string; victim: AppProcess }> {
  const failpoints = `local-message.inserted=1*${action}`;
  const [[order], [victim]] = await Promise.all([
    shop.start(['order'], { options }),
    shop.start(['inventory'], { options, failpoints }),
  ]);
  await shop.stock('book', 10);
  const orderId = await placed(order!, 'one');
  await until('the receiver is inside its transaction', () => victim!.hits().includes('local-message.inserted'));
  return { orderId, victim: victim! };
}

async function receiverDies(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  const { orderId, victim } = await stoppedInTransaction(stage, 'crash', NO_RESEND);
  await victim.untilExited();
  await untilMessage(sandbox, orderId, 'SENT');
  // The queue forgets a consumer and requeues its deliveries in one step.
  await until('the broker has noticed', async () => (await queueState(sandbox, TAKE_STOCK))!.consumers === 0);
  return async () => {
    expect(await messagesIn(sandbox, TAKE_STOCK), 'messages back in the queue').toBe(1);
    await shop.start(['inventory'], { options: NO_RESEND });
    await untilMessage(sandbox, orderId, 'DONE');
    expect(await timesTaken(sandbox, orderId), 'stock taken for a message that is DONE').toEqual([1]);
  };
}

async function queueIsLost(stage: Stage): Promise<Claim> {
  const { shop, sandbox } = stage;
  const { orderId, victim } = await stoppedInTransaction(stage, 'pause', SHORT_TIMES);
  await deleteQueue(sandbox, TAKE_STOCK);
  await victim.kill();
  await shop.start(['inventory'], { options: SHORT_TIMES });
  await untilMessage(sandbox, orderId, 'DONE');
  return async () => {
    expect(await timesTaken(sandbox, orderId), 'stock taken for a message that is DONE').toEqual([1]);
  };
}

export const receiverScenarios: Scenario[] = [
  { promise: 'a message delivered twice has one effect', mutants: [noInbox], play: duplicateDelivery },
  {
    promise: 'a message whose receiver dies inside its transaction is redelivered and handled without a resend',
    mutants: [inboxRowApart, ackBeforeCommit],
    play: receiverDies,
  },
  {
    promise: 'a message that was not handled is resent although its queue was deleted with it',
    mutants: [receiptBeforeCommit],
    play: queueIsLost,
  },
];
