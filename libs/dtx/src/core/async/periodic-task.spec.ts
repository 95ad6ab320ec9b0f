import { describe, expect, it, vi } from 'vitest';
import { Periodic } from './periodic-task.js';

/** No test waits for it. */
const LONG_MS = 600_000;

/** Starts a task that is repeated without a rest, and stops it when its work has been done so often. */
async function repeat(times: number, work: (nth: number) => Promise<void>, failed = (_: unknown) => {}): Promise<void> {
  let nth = 0;
  let done = () => {};
  const isDone = new Promise<void>((resolve) => {
    done = resolve;
  });
  const each = async () => {
    nth++;
    if (nth === times) done();
    await work(nth);
  };
  const periodic = new Periodic(1, each, failed);
  periodic.start();
  await isDone;
  await periodic.stop();
}

describe('Periodic', () => {
  it('works at once when it is started', async () => {
    const work = vi.fn(async () => {});
    const periodic = new Periodic(LONG_MS, work, () => {});
    expect(work).not.toHaveBeenCalled();
    periodic.start();
    expect(work).toHaveBeenCalledTimes(1);
    await periodic.stop();
  });

  it('ends without more work when it is stopped during its rest', async () => {
    const work = vi.fn(async () => {});
    const periodic = new Periodic(LONG_MS, work, () => {});
    periodic.start();
    await new Promise(setImmediate);
    await periodic.stop();
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('tells the work by a signal that it is stopped, and waits for its end', async () => {
    let end = () => {};
    const signals: AbortSignal[] = [];
    const work = (signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    };
    const periodic = new Periodic(LONG_MS, work, () => {});
    periodic.start();
    expect(signals[0]!.aborted).toBe(false);
    let isStopped = false;
    const stopped = periodic.stop().then(() => {
      isStopped = true;
    });
    await new Promise(setImmediate);
    expect([signals[0]!.aborted, isStopped]).toEqual([true, false]);
    end();
    await stopped;
  });

  it('can be stopped before it was started', async () => {
    const work = vi.fn(async () => {});
    await new Periodic(LONG_MS, work, () => {}).stop();
    expect(work).not.toHaveBeenCalled();
  });

  it('never does the work twice at once', async () => {
    let inWork = 0;
    const seen: number[] = [];
    await repeat(5, async () => {
      seen.push(++inWork);
      await new Promise(setImmediate);
      inWork--;
    });
    expect(seen).toEqual([1, 1, 1, 1, 1]);
  });

  it('reports an error of the work and goes on', async () => {
    const errors: string[] = [];
    const work = async (nth: number) => {
      throw new Error(`time ${nth}`);
    };
    await repeat(3, work, (error) => errors.push((error as Error).message));
    expect(errors).toEqual(['time 1', 'time 2', 'time 3']);
  });
});
