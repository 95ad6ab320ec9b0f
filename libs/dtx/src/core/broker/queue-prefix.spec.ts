import { describe, expect, it } from 'vitest';
import { argumentsOf, isProcessQueue } from './queue-kinds.js';
import { QueueNames } from './queue-prefix.js';

describe('queue names with a prefix', () => {
  const names = new QueueNames('staging', 'classic');

  it.each([
    ['dtx.billing.send.v1', 'staging.billing.send.v1'],
    ['dtx.billing.receipts.v1', 'staging.billing.receipts.v1'],
  ])('%s is %s at the broker, and the other way round', (inCode, onWire) => {
    expect(names.onWire(inCode)).toBe(onWire);
    expect(names.onWire(onWire)).toBe(onWire);
    expect(names.inCode(onWire)).toBe(inCode);
  });

  it('leave a queue of another prefix as it is', () => {
    expect(names.inCode('production.billing.receipts.v1')).toBe('production.billing.receipts.v1');
  });

  it('have the prefix in the target of a waiting queue', () => {
    const kind = names.kindOnWire({ ttlMs: 1_000, expiredTo: 'dtx.billing.check.v1' });
    expect(argumentsOf('staging.billing.wait.v1', kind).arguments).toMatchObject({
      'x-dead-letter-routing-key': 'staging.billing.check.v1',
    });
  });

  it('keep the exclusive queue of a process exclusive', () => {
    const queue = names.onWire('dtx.billing.answers.019aaaaa-0000-7000-8000-000000000000');
    expect(isProcessQueue(queue)).toBe(true);
    expect(argumentsOf(queue, 'work')).toMatchObject({ exclusive: true });
  });

  it('are unchanged with the default prefix', () => {
    const plain = new QueueNames('dtx', 'classic');
    expect(plain.onWire('dtx.billing.send.v1')).toBe('dtx.billing.send.v1');
    expect(plain.inCode('dtx.billing.send.v1')).toBe('dtx.billing.send.v1');
  });
});

describe('queue names with a type', () => {
  const QUEUE = 'dtx.billing.send.v1';
  const other = (names: QueueNames) => names.consumed(QUEUE, 'work')[1];

  it('of the default are those of quorum queues, beside a classic one that may exist', () => {
    const names = new QueueNames();
    expect(names.onWire(QUEUE)).toBe(`${QUEUE}.quorum`);
    expect(names.onWire(names.onWire(QUEUE))).toBe(`${QUEUE}.quorum`);
    expect(argumentsOf(names.onWire(QUEUE), 'work').arguments).toMatchObject({ 'x-queue-type': 'quorum' });
    expect(other(names)).toEqual({ queue: QUEUE, kind: 'named', isOptional: true });
  });

  it('of the first step are classic, and the quorum queue is declared too', () => {
    const names = new QueueNames('dtx', 'classic-to-quorum');
    expect(names.onWire(QUEUE)).toBe(QUEUE);
    expect(other(names)).toEqual({ queue: `${QUEUE}.quorum`, kind: 'named', isOptional: false });
  });

  it('of queues with one type, and of a queue that another program has named, stay as they are', () => {
    const names = new QueueNames();
    expect(names.onWire(QUEUE, 'replicated')).toBe(QUEUE);
    expect(names.consumed(QUEUE, 'replicated')).toHaveLength(1);
    expect(names.onWire(QUEUE, 'named')).toBe(QUEUE);
    expect(argumentsOf(QUEUE, 'named')).toEqual({ durable: true });
    expect(names.onWire('staging.billing.receipts.v1', 'named')).toBe('staging.billing.receipts.v1');
    expect(names.onWire('staging.order.answers.019aaaaa-0000-7000-8000-000000000000')).not.toContain('quorum');
    expect(names.onWire('dtx.order.answers.019aaaaa-0000-7000-8000-000000000000')).not.toContain('quorum');
  });
});
