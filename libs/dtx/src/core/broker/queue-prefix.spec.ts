import { describe, expect, it } from 'vitest';
import { argumentsOf, isProcessQueue } from './queue-kinds.js';
import { QueueNames } from './queue-prefix.js';

describe('queue names with a prefix', () => {
  const names = new QueueNames('staging');

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

  it('are unchanged by default', () => {
    const plain = new QueueNames();
    expect(plain.onWire('dtx.billing.send.v1')).toBe('dtx.billing.send.v1');
    expect(plain.inCode('dtx.billing.send.v1')).toBe('dtx.billing.send.v1');
  });
});
