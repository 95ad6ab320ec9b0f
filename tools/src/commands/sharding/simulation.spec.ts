import { describe, expect, it } from 'vitest';
import { type SimulationOptions, shardOf, simulate } from './simulation.js';

const CALM: SimulationOptions = {
  seed: 7,
  shards: 1,
  relays: 1,
  ratePerShard: 1_000,
  rate: 800,
  hotShare: 0,
  leaseSeconds: 30,
  scanSeconds: 1,
  deathEverySeconds: 0,
  seconds: 500,
};

describe('simulation of sharded outboxes', () => {
  it.each([0.3, 0.5, 0.8])('has the mean lag of an M/D/1 queue at load %s', (load) => {
    const { ratePerShard } = CALM;
    // Pollaczek-Khinchine for a constant service time.
    const known = 1 / ratePerShard + load / (2 * ratePerShard * (1 - load));
    const { lagMean } = simulate({ ...CALM, rate: load * ratePerShard });
    expect(Math.abs(lagMean / known - 1)).toBeLessThan(0.05);
  });

  it('loses and invents no message, also when relays die', () => {
    const busy = { ...CALM, shards: 8, relays: 4, rate: 4_000, deathEverySeconds: 20, seconds: 100 };
    const { arrivals, sent, backlog, takeovers } = simulate(busy);
    expect(sent + backlog).toBe(arrivals);
    expect(Math.abs(arrivals / 400_000 - 1)).toBeLessThan(0.01);
    expect(takeovers).toBeGreaterThan(0);
  });

  it('gives the same result for the same seed, and another one for another seed', () => {
    const dying = { ...CALM, relays: 2, shards: 4, deathEverySeconds: 40, seconds: 100 };
    expect(simulate(dying)).toEqual(simulate(dying));
    expect(simulate({ ...dying, seed: 8 })).not.toEqual(simulate(dying));
  });

  it('sends nothing at rate 0', () => {
    expect(simulate({ ...CALM, rate: 0 })).toMatchObject({
      arrivals: 0,
      sent: 0,
      backlog: 0,
      lagP99: 0,
      backlogPeak: 0,
    });
  });

  it('grows by the excess per second when overloaded', () => {
    const backlogAfter = (seconds: number) => simulate({ ...CALM, rate: 1_500, seconds }).backlog;
    expect(Math.abs(backlogAfter(100) / 50_000 - 1)).toBeLessThan(0.05);
    expect(Math.abs(backlogAfter(200) / 100_000 - 1)).toBeLessThan(0.05);
  });

  it('takes a shard over between two thirds of a lease and a lease and a scan, and the lag shows it', () => {
    const dying = { ...CALM, shards: 2, relays: 2, rate: 400, deathEverySeconds: 100, seconds: 300 };
    const { takeoverMax, lagP99, backlogPeak } = simulate(dying);
    expect(takeoverMax).toBeGreaterThan(20);
    expect(takeoverMax).toBeLessThanOrEqual(31);
    expect(lagP99).toBeGreaterThan(10);
    expect(backlogPeak).toBeGreaterThan(20 * 200);
    expect(simulate({ ...dying, deathEverySeconds: 0 }).lagP99).toBeLessThan(0.1);
  });

  it('cannot spread a hot key: more shards do not help', () => {
    const hot = { ...CALM, rate: 4_000, hotShare: 0.5, seconds: 50 };
    expect(simulate({ ...hot, shards: 16 }).backlog).toBeGreaterThan(45_000);
    expect(simulate({ ...hot, shards: 64 }).backlog).toBeGreaterThan(45_000);
    expect(simulate({ ...hot, shards: 16, hotShare: 0 }).backlog).toBeLessThan(100);
  });

  it('spreads keys evenly', () => {
    const counts = new Array<number>(16).fill(0);
    for (let key = 0; key < 16_000; key++) counts[shardOf(key, 16)]! += 1;
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1_150);
  });

  it.each([
    [{ shards: 0 }, 'shards is 0: it must be from 1 to 100000'],
    [{ relays: 1.5 }, 'relays is 1.5'],
    [{ ratePerShard: 0 }, 'rate per shard is 0'],
    [{ rate: -1 }, 'rate is -1'],
    [{ rate: 1_000_000 }, '5000000 messages in all'],
    [{ hotShare: 2 }, 'hot share is 2'],
    [{ leaseSeconds: Number.NaN }, 'lease is NaN'],
    [{ deathEverySeconds: -1 }, 'death interval is -1'],
  ])('refuses %j', (change, message) => {
    expect(() => simulate({ ...CALM, ...change })).toThrow(message);
  });
});
