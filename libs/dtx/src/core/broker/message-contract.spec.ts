import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { OptionsError } from '../errors/errors.js';
import { type Contract, defineMessage, type MessageOf, queueOf, receiptQueueOf } from './message-contract.js';

const good = {
  name: 'order.placed',
  version: 1,
  schema: z.object({ orderId: z.string() }),
  consumers: ['inventory.take-stock'],
  gid: (payload: { orderId: string }) => payload.orderId,
};
const manyConsumers = Array.from({ length: 17 }, (_, n) => `${'a'.repeat(30)}${n + 10}.${'b'.repeat(32)}`);
const part = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);

describe('a message contract', () => {
  it('is shared by both sides and cannot be changed', () => {
    const contract = defineMessage(good);
    const message: MessageOf<typeof contract> = { orderId: '7' };
    expect(contract.gid(message)).toBe('7');
    expect(() => Object.assign(contract, { version: 2 })).toThrow(TypeError);
    expect(() => (contract.consumers as string[]).push('order.another')).toThrow(TypeError);
  });

  // A consumer of another contract is refused as well.
  const untaken = { consumers: ['order.untaken'] };
  it.each<[string, Partial<Contract>]>([
    ['a name of one word', { ...untaken, name: 'order' }],
    ['a name with capitals', { ...untaken, name: 'Order.placed' }],
    ['an empty name', { ...untaken, name: '' }],
    ['a name with a blank', { ...untaken, name: 'order. placed' }],
    ['a name that is too long for its column', { ...untaken, name: `order.${'x'.repeat(95)}` }],
    ['more consumers than fit into their column', { consumers: manyConsumers }],
    ['version 0', { version: 0 }],
    ['version 1.5', { version: 1.5 }],
    ['a version as text', { version: '1' as unknown as number }],
    ['no consumer', { consumers: [] }],
    ['a consumer twice', { consumers: ['a.b', 'a.b'] }],
    ['a consumer without its app', { consumers: ['take-stock'] }],
    ['a consumer with a comma', { consumers: ['a.b,c.d'] }],
    ['a consumer that is too long', { consumers: [`a.${'b'.repeat(33)}`] }],
    ['a consumer with the queue of receipts', { consumers: ['order.receipts'] }],
    ['a consumer of another contract', { name: 'order.copied' }],
  ])('is rejected with %s and names the contract', (_, wrong) => {
    const define = () => defineMessage({ ...good, ...wrong } as typeof good);
    expect(define).toThrow(OptionsError);
    expect(define).toThrow(new RegExp(`^message contract ${wrong.name ?? good.name}: [^\n]+$`));
  });

  const exchange = {
    ...good,
    consumers: undefined,
    receipts: false,
    publishTo: { exchange: 'shop', routingKey: 'o.p' },
  };

  it('may name an exchange instead of consumers, and then has no queue', () => {
    const contract = defineMessage({ ...exchange, receipts: false, consumers: undefined });
    expect(contract).toMatchObject({
      consumers: [],
      receipts: false,
      publishTo: { exchange: 'shop', routingKey: 'o.p' },
    });
  });

  it.each<[string, object, RegExp]>([
    ['with receipts', { receipts: undefined }, /publishTo needs receipts: false/],
    ['beside consumers', { consumers: ['a.b'] }, /remove consumers and replicated/],
    ['of a replicated contract', { replicated: true }, /remove consumers and replicated/],
    ['without a routing key', { publishTo: { exchange: 'shop' } }, /publishTo needs exchange and routingKey/],
    ['with a long name', { publishTo: { exchange: 'x'.repeat(256), routingKey: '' } }, /texts of at most 255 bytes/],
  ])('is rejected for an exchange %s', (_, wrong, error) => {
    expect(() => defineMessage({ ...exchange, ...wrong } as unknown as typeof good)).toThrow(error);
  });

  it('accepts any well-formed name and consumers', () => {
    const consumers = fc.uniqueArray(
      fc.tuple(part, part).map((parts) => parts.join('.')),
      { minLength: 1, maxLength: 15 },
    );
    let version = 1; // a consumer belongs to one contract of a version
    fc.assert(
      fc.property(part, part, consumers, (first, second, names) => {
        const contract = defineMessage({ ...good, name: `${first}.${second}`, version: version++, consumers: names });
        expect(contract.consumers).toEqual(names);
      }),
    );
  });

  it('shares no consumer with another contract, and takes none if one is taken', () => {
    const first = { ...good, name: 'first.contract', consumers: ['audit.one'] };
    const second = { ...good, name: 'second.contract', consumers: ['audit.two', 'audit.one'] };
    defineMessage(first);
    expect(() => defineMessage(second)).toThrow(
      /^message contract second\.contract: consumer audit\.one v1 belongs to the contract first\.contract; give each/,
    );
    expect(defineMessage({ ...first, consumers: ['audit.two'] }).consumers).toEqual(['audit.two']);
    expect(defineMessage({ ...second, version: 2 }).version).toBe(2);
  });

  it('may be defined again, by a second copy of its module', () => {
    expect(defineMessage(good)).toEqual(defineMessage(good));
  });
});

describe('queues', () => {
  it('carry app, consumer and version in their names', () => {
    expect(queueOf('inventory.take-stock', 1)).toBe('dtx.inventory.take-stock.v1');
    expect(receiptQueueOf('order')).toBe('dtx.order.receipts.v1');
  });

  it('differ for different consumers and versions', () => {
    const consumer = fc.tuple(part, part).map((parts) => parts.join('.'));
    const version = fc.integer({ min: 1, max: 999 });
    fc.assert(
      fc.property(consumer, version, consumer, version, (a, v, b, w) => {
        expect(queueOf(a, v) === queueOf(b, w)).toBe(a === b && v === w);
      }),
    );
  });
});
