import { describe, expect, it } from 'vitest';
import { addedUp, hearInstances, recent, runningOf } from '../../libs/console/src/instances.js';
import type { Minute } from '../../libs/console/src/types.js';

const instance = (pid: number) => ({ host: 'h', pid, startedAt: '2026-01-01T00:00:00.000Z' });
/** A balancer that gives each call to the next instance. */
function balanced(pids: number[]): { ask: () => Promise<{ instance: ReturnType<typeof instance> }>; calls: number } {
  const one = { calls: 0, ask: async () => ({ instance: instance(pids[one.calls++ % pids.length]!) }) };
  return one;
}
const pids = (heard: Array<{ view: { instance: { pid: number } } }>) => heard.map(({ view }) => view.instance.pid);

describe('hearInstances', () => {
  it('hears each instance behind a balancer in one round', async () => {
    const balancer = balanced([1, 2, 3]);
    expect(pids(await hearInstances(balancer.ask, [], 3))).toEqual([1, 2, 3]);
    expect(balancer.calls).toBe(3);
  });

  it('asks once where one instance runs, and at most as often as instances run where the balancer hides them', async () => {
    const single = balanced([1]);
    await hearInstances(single.ask, [], 1);
    expect(single.calls).toBe(1);
    const sticky = balanced([1]);
    expect(pids(await hearInstances(sticky.ask, [], 4))).toEqual([1]);
    expect(sticky.calls).toBe(4);
    const many = balanced([1]);
    await hearInstances(many.ask, [], 100);
    expect(many.calls).toBe(8);
  });

  it('keeps the answer of an ended instance, and tells it from those that answer', async () => {
    const old = { view: { instance: instance(1) }, heardAt: Date.now() - 120_000 };
    const heard = await hearInstances(balanced([2]).ask, [old], 1);
    expect(pids(heard)).toEqual([1, 2]);
    expect(pids(recent(heard))).toEqual([2]);
  });

  it('forgets an answer that is older than its minutes', async () => {
    const old = { view: { instance: instance(1) }, heardAt: Date.now() - 3_700_000 };
    expect(pids(await hearInstances(balanced([2]).ask, [old], 1))).toEqual([2]);
  });

  it('keeps the answers of a round whose later call fails, and fails if the first one does', async () => {
    let calls = 0;
    const ask = async () => {
      if (calls++ > 0) throw new Error('down');
      return { instance: instance(1) };
    };
    expect(pids(await hearInstances(ask, [], 3))).toEqual([1]);
    await expect(hearInstances(ask, [], 3)).rejects.toThrow('down');
  });
});

describe('addedUp', () => {
  const figures = { started: 1, settled: 2, parked: 3, retried: 4, p50Ms: 5, p95Ms: 6 };
  it('adds counts of the same minute and scheme, and takes the highest latency', () => {
    const first: Minute[] = [{ at: '2026-01-01T00:01:00.000Z', schemes: { xa: figures } }];
    const second: Minute[] = [
      { at: '2026-01-01T00:00:00.000Z', schemes: {} },
      { at: '2026-01-01T00:01:00.000Z', schemes: { xa: { ...figures, p50Ms: null, p95Ms: 60 }, tcc: figures } },
    ];
    expect(addedUp([first, second])).toEqual([
      { at: '2026-01-01T00:00:00.000Z', schemes: {} },
      {
        at: '2026-01-01T00:01:00.000Z',
        schemes: { xa: { started: 2, settled: 4, parked: 6, retried: 8, p50Ms: 5, p95Ms: 60 }, tcc: figures },
      },
    ]);
  });
});

describe('runningOf', () => {
  const queue = { queue: 'q', busy: 0, prefetch: 1, problem: null, messages: 0 };
  it('is the largest number of consumers of a queue of the instance', () => {
    const queues = [1, 3, null].map((consumers) => ({ ...queue, isAttached: true, consumers }));
    expect(runningOf({ queues })).toBe(3);
    expect(runningOf({ queues: [{ ...queue, isAttached: false, consumers: 5 }] })).toBe(1);
    expect(runningOf({ queues: [] })).toBe(1);
  });
});
