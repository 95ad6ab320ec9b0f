import { type ConfirmChannel, connect } from 'amqplib';
import { QueueProbe } from '../fixtures/queue-probe.js';
import type { Sandbox } from '../fixtures/sandbox.js';

export const TAKE_STOCK = 'dtx.inventory.take-stock.v1';
export const ORDER_RECEIPTS = 'dtx.order.receipts.v1';

interface QueueState {
  /** Ready messages. Messages that a consumer has not acked are not counted. */
  readonly messages: number;
  readonly consumers: number;
}

/** The state of a queue by AMQP, because the management API is seconds late. Null when the queue does not exist. */
export function queueState(sandbox: Sandbox, queue: string): Promise<QueueState | null> {
  return onBroker(sandbox, async (channel) => {
    try {
      const { messageCount, consumerCount } = await channel.checkQueue(queue);
      return { messages: messageCount, consumers: consumerCount };
    } catch (error) {
      if ((error as { code?: number }).code === 404) return null;
      throw error;
    }
  });
}

export async function messagesIn(sandbox: Sandbox, queue: string): Promise<number | null> {
  return (await queueState(sandbox, queue))?.messages ?? null;
}

/** As an operator would, by mistake: with all that is in it, and whether or not it is being consumed. */
export async function deleteQueue(sandbox: Sandbox, queue: string): Promise<void> {
  await onBroker(sandbox, (channel) => channel.deleteQueue(queue));
}

/** Delivers a purchase's first message as the order app sends it: the same id again is a duplicate. */
export async function deliverOrderPlaced(sandbox: Sandbox, messageId: string, orderId: string): Promise<void> {
  const purchase = { orderId, scheme: 'local-message', buyerId: 'alice', sku: 'book', quantity: 1, amount: 1_999 };
  const properties = {
    messageId,
    type: 'order.placed.v1',
    correlationId: orderId,
    replyTo: ORDER_RECEIPTS,
    headers: { 'dtx-scheme': 'local-message' },
  };
  const probe = await QueueProbe.open(sandbox);
  await probe.publish(TAKE_STOCK, JSON.stringify(purchase), properties);
  await probe.close();
}

async function onBroker<T>(sandbox: Sandbox, work: (channel: ConfirmChannel) => Promise<T>): Promise<T> {
  const connection = await connect(sandbox.rabbitmq);
  try {
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {}); // a missing queue also closes the channel
    return await work(channel);
  } finally {
    await connection.close();
  }
}
