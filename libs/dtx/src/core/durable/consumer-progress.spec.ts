import { describe, expect, it } from 'vitest';
import { newId } from '../ids.js';
import { ConsumerProgress } from './consumer-progress.js';

const receipt = (consumer: string, madeAtMs: number) => new Map([[newId(madeAtMs), consumer]]);

describe('the progress of a consumer', () => {
  it('is unknown without a receipt', () => {
    expect(new ConsumerProgress().madeAtMs('payment.charge')).toBeUndefined();
  });

  it('is the time of its newest message with a receipt, and not that of the last receipt', () => {
    const progress = new ConsumerProgress();
    progress.receipted(receipt('payment.charge', 2_000));
    progress.receipted(receipt('payment.charge', 1_000));
    progress.receipted(receipt('order.confirm', 3_000));
    expect(['payment.charge', 'order.confirm'].map((one) => progress.madeAtMs(one))).toEqual([2_000, 3_000]);
  });

  it('ignores ids without a time', () => {
    const progress = new ConsumerProgress();
    progress.receipted(new Map([['9d0c2f2e-4f2b-4c1a-9f0a-1f6f3f1d2c3b', 'payment.charge']]));
    expect(progress.madeAtMs('payment.charge')).toBeUndefined();
  });

  it('keeps a limited number of consumers', () => {
    const progress = new ConsumerProgress();
    for (let n = 0; n <= 1_000; n++) progress.receipted(receipt(`stranger.${n}`, 1_000 + n));
    progress.receipted(receipt('stranger.1000', 3_000));
    expect(progress.madeAtMs('stranger.0')).toBeUndefined();
    expect(progress.madeAtMs('stranger.1000')).toBe(3_000);
  });
});
