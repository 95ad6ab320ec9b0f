import { describe, expect, it } from 'vitest';
import { queueDefinitions, queuesOf } from './queues-of-app.js';

const orderPlaced = { name: 'order.placed', version: 1, consumers: ['stock.reserve', 'mail.thank'] };
const paid = { name: 'order.paid', version: 2, consumers: ['order.confirm'], replicated: true };

describe('the queues of an app', () => {
  it('are those of its contracts, receipts and participants, with their use and type', () => {
    const participants = [{ name: 'stock.shelf', version: 1 }];
    const queues = queuesOf({
      app: 'order',
      contracts: [orderPlaced, paid],
      participants,
      schemes: ['local-message', 'tcc'],
    });
    expect(queues.map(({ name, use, type }) => `${use} ${type} ${name}`)).toEqual([
      'sends classic dtx.mail.thank.v1',
      'consumes quorum dtx.order.confirm.v2',
      'consumes classic dtx.order.receipts.v1',
      'sends classic dtx.stock.reserve.v1',
      'sends classic dtx.stock.tcc-shelf.second.v1',
      'sends classic dtx.stock.tcc-shelf.v1',
    ]);
  });

  it('of half messages are a check queue and a waiting queue for each delay', () => {
    const queues = queuesOf({ app: 'order', schemes: ['half-message'], levelsMs: [5_000] });
    expect(queues.map(({ name }) => name)).toEqual([
      'dtx.order--half.receipts.v1',
      'dtx.order.half-check.v1',
      'dtx.order.half-wait.5000ms.v1',
    ]);
    expect(queues[2]!.arguments).toMatchObject({
      'x-message-ttl': 5_000,
      'x-dead-letter-routing-key': 'dtx.order.half-check.v1',
      'x-queue-type': 'quorum',
    });
  });

  it('have the prefix of the environment, also as the target of a waiting queue', () => {
    const queues = queuesOf({ app: 'order', schemes: ['half-message'], levelsMs: [5_000], queuePrefix: 'staging' });
    expect(queues.map(({ name }) => name)).toContain('staging.order.half-wait.5000ms.v1');
    expect(queues.find(({ use }) => use === 'waits')!.arguments).toMatchObject({
      'x-dead-letter-routing-key': 'staging.order.half-check.v1',
    });
  });

  it('of notifications are consumed by the service and sent to by all others', () => {
    const useIn = (app: string) => queuesOf({ app, schemes: ['notify'], notifyService: 'payment' })[0]!.use;
    expect([useIn('payment'), useIn('order')]).toEqual(['consumes', 'sends']);
  });

  it('are written as definitions that RabbitMQ imports', () => {
    const queues = queuesOf({ app: 'order', contracts: [paid], schemes: [] });
    expect(queueDefinitions(queues, 'shop')).toEqual({
      queues: [
        {
          name: 'dtx.order.confirm.v2',
          vhost: 'shop',
          durable: true,
          auto_delete: false,
          arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 },
        },
      ],
    });
  });
});
