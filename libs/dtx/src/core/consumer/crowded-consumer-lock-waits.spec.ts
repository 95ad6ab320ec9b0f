import { afterEach, describe, expect, it, vi } from 'vitest';
import { Crowd } from './crowded-consumer-lock-waits.js';

/** A handler that is in work until it is ended. Notes the lock wait that it was given. */
function handlerIn(crowd: Crowd, consumer: string) {
  let end = () => {};
  const waits: Array<number | undefined> = [];
  const ended = crowd.within(consumer, (wait) => {
    waits.push(wait);
    return new Promise<void>((resolve) => {
      end = resolve;
    });
  });
  return {
    wait: () => waits[0],
    end: () => {
      end();
      return ended;
    },
  };
}

describe('Crowd', () => {
  afterEach(() => vi.useRealTimers());

  it('gives held rows a quarter of the places, and at least one', () => {
    expect([64, 8, 7, 3, 1].map((places) => new Crowd(places).share)).toEqual([16, 2, 1, 1, 1]);
  });

  it("shortens the lock wait of a handler while a share of its consumer's places is taken", async () => {
    const crowd = new Crowd(8);
    const [first, second, third] = [1, 2, 3].map(() => handlerIn(crowd, 'order.stock'));
    expect([first!.wait(), second!.wait(), third!.wait()]).toEqual([undefined, undefined, 1]);
    expect(handlerIn(crowd, 'order.money').wait()).toBeUndefined();
  });

  it('shortens the lock wait for a second after a crowd, so that sessions keep their setting under load', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const crowd = new Crowd(4);
    const [first, second] = [1, 2].map(() => handlerIn(crowd, 'order.stock'));
    await Promise.all([first!.end(), second!.end()]);
    vi.advanceTimersByTime(999);
    expect(await crowd.within('order.stock', async (wait) => wait)).toBe(1);
    vi.advanceTimersByTime(1);
    expect(await crowd.within('order.stock', async (wait) => wait)).toBeUndefined();
  });

  it('frees the place of a handler that has failed', async () => {
    const crowd = new Crowd(1);
    await crowd.within('order.stock', () => Promise.reject(new Error('broken'))).catch(() => {});
    expect(await crowd.within('order.stock', async (wait) => wait)).toBeUndefined();
  });

  it('lets a held row rest longer each time that it meets a lock, up to a limit', () => {
    const crowd = new Crowd(8);
    const rests = Array.from({ length: 8 }, () => crowd.restMsOf('a'));
    for (const [n, plain] of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000].entries()) {
      expect(rests[n]).toBeGreaterThanOrEqual(0.75 * plain);
      expect(rests[n]).toBeLessThanOrEqual(1.25 * plain);
    }
  });

  it('shortens the lock wait of a held row that has met a lock before, until it is forgotten', () => {
    const crowd = new Crowd(8);
    expect(crowd.waitOf('a')).toBeUndefined();
    crowd.restMsOf('a');
    expect([crowd.waitOf('a'), crowd.waitOf('b')]).toEqual([1, undefined]);
    crowd.forget('a');
    expect(crowd.waitOf('a')).toBeUndefined();
    expect(crowd.restMsOf('a')).toBeLessThanOrEqual(1_250);
  });

  it('remembers ten thousand rows, those that met a lock last', () => {
    const crowd = new Crowd(8);
    for (let n = 0; n < 10_000; n++) crowd.restMsOf(`row-${n}`);
    crowd.restMsOf('row-0');
    crowd.restMsOf('one more');
    expect([crowd.waitOf('row-0'), crowd.waitOf('row-1'), crowd.waitOf('one more')]).toEqual([1, undefined, 1]);
  });
});
