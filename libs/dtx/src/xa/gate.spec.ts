import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { XaUnavailable } from './errors.js';
import { Gate } from './gate.js';

const WAIT_MS = 1_000;
const gateOf = (concurrencyMax: number, waitersMax = 10) => new Gate({ concurrencyMax, waitersMax, waitMs: WAIT_MS });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Gate', () => {
  it('lets transactions in up to its limit, and each further one when another leaves, in order', async () => {
    const gate = gateOf(1);
    const inside: string[] = [];
    const leave = await gate.enter();
    const [b, c] = ['b', 'c'].map((name) => gate.enter().finally(() => inside.push(name)));
    await vi.advanceTimersByTimeAsync(0);
    expect(inside).toEqual([]);
    leave();
    const leaveB = await b!;
    expect(inside).toEqual(['b']);
    leaveB();
    (await c!)();
    expect(inside).toEqual(['b', 'c']);
  });

  it('counts a transaction out once, however often it leaves', async () => {
    const gate = gateOf(1);
    const leave = await gate.enter();
    leave();
    leave();
    await gate.enter();
    const refused = expect(gate.enter()).rejects.toThrow(XaUnavailable);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await refused;
  });

  it('refuses a transaction that has waited for its limit, and gives its turn to the next one', async () => {
    const gate = gateOf(1);
    const leave = await gate.enter();
    const refused = expect(gate.enter()).rejects.toThrow(/1 XA transactions were running for 1000 ms/);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await refused;
    const next = gate.enter();
    leave();
    (await next)();
  });

  it('refuses a transaction at once if too many wait already', async () => {
    const gate = gateOf(1, 2);
    await gate.enter();
    const waiting = [gate.enter(), gate.enter()].map((one) => one.catch((error: unknown) => error));
    await expect(gate.enter()).rejects.toThrow(/2 XA transactions wait already/);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await Promise.all(waiting);
  });

  it('refuses new and waiting transactions once it is closed, and waits for those inside', async () => {
    const gate = gateOf(1);
    const leave = await gate.enter();
    const waiting = expect(gate.enter()).rejects.toThrow(XaUnavailable);
    let isClosed = false;
    const closed = gate.close().then(() => {
      isClosed = true;
    });
    await waiting;
    await expect(gate.enter()).rejects.toThrow(/stopping/);
    expect(isClosed).toBe(false);
    leave();
    await closed;
  });

  it('closes at once if no transaction is inside', async () => {
    await gateOf(1).close();
  });
});
