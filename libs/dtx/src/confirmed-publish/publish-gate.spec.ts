import { describe, expect, it } from 'vitest';
import { BrokerUnavailable } from '../core/errors/errors.js';
import { PublishGate } from './publish-gate.js';

const soon = () => performance.now() + 5_000;

describe('PublishGate', () => {
  it('admits up to its limit, and admits the next caller when a place is released', async () => {
    const gate = new PublishGate(2);
    const [first] = [await gate.enter(soon()), await gate.enter(soon())];
    let isIn = false;
    const third = gate.enter(soon()).then((leave) => {
      isIn = true;
      return leave;
    });
    await Promise.resolve();
    expect(isIn).toBe(false);
    first();
    (await third)();
    expect(isIn).toBe(true);
  });

  it('admits every caller of a long queue while the broker answers', async () => {
    const gate = new PublishGate(2);
    let done = 0;
    const one = async () => {
      const leave = await gate.enter(soon());
      await new Promise((resolve) => setTimeout(resolve, 5));
      done++;
      leave();
    };
    await Promise.all(Array.from({ length: 60 }, one));
    expect(done).toBe(60);
  });

  it('rejects a caller at its deadline, and immediately when the broker has not answered the callers inside', async () => {
    const gate = new PublishGate(1);
    await gate.enter(soon());
    await expect(gate.enter(performance.now() + 50)).rejects.toBeInstanceOf(BrokerUnavailable);
    await expect(gate.enter(soon())).rejects.toThrow(/1 publishes inside transactions wait for RabbitMQ/);
    // By now the one inside has been there for too long.
    const refused = gate.enter(soon()).catch((error: unknown) => error);
    const waits = new Promise((resolve) => setImmediate(resolve, 'waits'));
    expect(await Promise.race([refused, waits])).toBeInstanceOf(BrokerUnavailable);
  });
});
