import { describe, expect, it } from 'vitest';
import { argumentsOf, isProcessQueue } from './queue-kinds.js';

const PROCESS = 'dtx.payment.replies.01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';

describe('argumentsOf', () => {
  it('makes a work queue a durable classic queue', () => {
    expect(argumentsOf('dtx.inventory.take-stock.v1', 'work')).toEqual({ durable: true });
  });

  it.each(['replicated', 'replicated-if-new'] as const)('makes a %s queue a durable quorum queue', (kind) => {
    expect(argumentsOf('dtx.order.hint.v1', kind)).toEqual({
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 },
    });
  });

  it('makes a waiting queue hand its messages over after its time, at least once, and refuse instead of drop', () => {
    const { durable, arguments: given } = argumentsOf('dtx.wait.v1', { ttlMs: 5_000, expiredTo: 'dtx.check.v1' });
    expect(durable).toBe(true);
    expect(given).toEqual({
      'x-queue-type': 'quorum',
      'x-message-ttl': 5_000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dtx.check.v1',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    });
  });

  it('makes an answer queue exclusive to its process, of whatever kind it is declared', () => {
    for (const kind of ['work', 'replicated'] as const)
      expect(argumentsOf(PROCESS, kind)).toEqual({ exclusive: true, autoDelete: true, durable: false });
  });
});

describe('isProcessQueue', () => {
  it.each(['dtx.payment.replies.v1', `-${PROCESS}`, `${PROCESS}x`, PROCESS.replace('payment', 'Payment')])(
    'is false for %s',
    (queue) => {
      expect(isProcessQueue(queue)).toBe(false);
    },
  );
});
