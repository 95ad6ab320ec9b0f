import { expect } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { messagesIn } from '../fixtures/broker-queues.js';
import { TestPublisher } from '../fixtures/outbox-message-copies.js';
import { until } from '../fixtures/until.js';
import { keyDeletedAfterAck } from './redis-claims.mutants.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

/** A restock's hint that is delivered twice, the second time after the process that handled the first has ended. */
async function duplicateByRedis({ shop, sandbox }: Stage): Promise<Claim> {
  const failpoints = 'reliable-message.worked=delay(0);reliable-message.done=delay(0)';
  const queue = 'dtx.order.restock-hint.v1';
  const publisher = await TestPublisher.open(sandbox);
  const properties = { messageId: 'one', type: 'stock.restocked.v1', headers: { 'dtx-scheme': 'reliable-message' } };
  const handle = async () => {
    const [order] = await shop.start(['order'], { failpoints, options: SHORT_TIMES });
    await until('its queue is there', async () => (await messagesIn(sandbox, queue)) !== null);
    await publisher.send(queue, Buffer.from('{"sku":"book","available":3,"version":1}'), properties);
    return order!;
  };
  const first = await handle();
  await until('the first is done', () => first.hits().includes('reliable-message.done'));
  await first.stop();
  const second = await handle();
  await until('the second is taken', async () => (await messagesIn(sandbox, queue)) === 0);
  await second.stop(); // ends the work in progress first
  await publisher.close();
  return async () => {
    const worked = [...first.hits(), ...second.hits()].filter((hit) => hit === 'reliable-message.worked');
    expect(worked.length, 'times that the handler ran').toBe(1);
  };
}

export const confirmedPublishScenarios: Scenario[] = [
  {
    promise: 'a duplicate that Redis knows is not handled again',
    mutants: [keyDeletedAfterAck],
    play: duplicateByRedis,
  },
];
