import { describe, expect, it } from 'vitest';
import { leftoverQueuesOf, queueDefinitions, queuesOf } from './queues-of-app.js';

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
      'sends quorum dtx.mail.thank.v1.quorum',
      'consumes quorum dtx.order.confirm.v2',
      'consumes quorum dtx.order.receipts.v1.quorum',
      'sends quorum dtx.stock.reserve.v1.quorum',
      'sends quorum dtx.stock.tcc-shelf.second.v1.quorum',
      'sends quorum dtx.stock.tcc-shelf.v1.quorum',
    ]);
  });

  it('of sagas are one queue for each step, at the app that carries it out and at the saga', () => {
    const steps = [
      { name: 'order.place', version: 1 },
      { name: 'stock.take', version: 2 },
    ];
    const queues = queuesOf({ app: 'order', steps, schemes: ['saga'] });
    expect(queues.map(({ name, use, type }) => `${use} ${type} ${name}`)).toEqual([
      'consumes quorum dtx.order.saga-place.v1.quorum',
      'sends quorum dtx.stock.saga-take.v2.quorum',
    ]);
    expect(queuesOf({ app: 'order', steps, schemes: ['tcc'] })).toEqual([]);
  });

  it('of half messages are a check queue and a waiting queue for each delay', () => {
    const queues = queuesOf({ app: 'order', schemes: ['half-message'], levelsMs: [5_000] });
    expect(queues.map(({ name }) => name)).toEqual([
      'dtx.order--half.receipts.v1.quorum',
      'dtx.order.half-check.v1',
      'dtx.order.half-wait.5000ms.v1',
    ]);
    expect(queues[2]!.arguments).toMatchObject({
      'x-message-ttl': 5_000,
      'x-dead-letter-routing-key': 'dtx.order.half-check.v1',
      'x-queue-type': 'quorum',
    });
  });

  it('of the first step of a migration are those of both types', () => {
    const options = { app: 'order', contracts: [orderPlaced], schemes: ['local-message'] as const };
    const typesIn = (queues: 'classic' | 'classic-to-quorum') =>
      queuesOf({ ...options, queues })
        .filter(({ use }) => use === 'consumes')
        .map(({ name, type }) => `${type} ${name}`);
    expect(typesIn('classic')).toEqual(['classic dtx.order.receipts.v1']);
    expect(typesIn('classic-to-quorum')).toEqual([
      'classic dtx.order.receipts.v1',
      'quorum dtx.order.receipts.v1.quorum',
    ]);
  });

  it('of the other type are left over only where the app consumes them', () => {
    const options = { app: 'order', contracts: [orderPlaced, paid], schemes: ['local-message'] as const };
    expect(leftoverQueuesOf(options)).toEqual(['dtx.order.receipts.v1']);
    expect(leftoverQueuesOf({ ...options, queues: 'classic' })).toEqual(['dtx.order.receipts.v1.quorum']);
    expect(leftoverQueuesOf({ ...options, queues: 'classic-to-quorum' })).toEqual([]);
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
