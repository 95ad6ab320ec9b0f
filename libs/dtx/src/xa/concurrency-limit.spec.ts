import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Admission } from './concurrency-limit.js';
import { XaUnavailable } from './xa-unavailable.js';

const WAIT_MS = 1_000;
const admissionOf = (concurrencyMax: number, waitersMax = 10) =>
  new Admission({ concurrencyMax, waitersMax, waitMs: WAIT_MS });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Admission', () => {
  it('lets transactions in up to its limit, and each further one when another leaves, in order', async () => {
    const admission = admissionOf(1);
    const inside: string[] = [];
    const leave = await admission.enter();
    const [b, c] = ['b', 'c'].map((name) => admission.enter().finally(() => inside.push(name)));
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
    const admission = admissionOf(1);
    const leave = await admission.enter();
    leave();
    leave();
    await admission.enter();
    const refused = expect(admission.enter()).rejects.toThrow(XaUnavailable);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await refused;
  });

  it('refuses a transaction that has waited for its limit, and gives its turn to the next one', async () => {
    const admission = admissionOf(1);
    const leave = await admission.enter();
    const refused = expect(admission.enter()).rejects.toThrow(/no place for an XA transaction within/);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await refused;
    const next = admission.enter();
    leave();
    (await next)();
  });

  it('refuses a transaction at once if too many wait already', async () => {
    const admission = admissionOf(1, 2);
    await admission.enter();
    const waiting = [admission.enter(), admission.enter()].map((one) => one.catch((error: unknown) => error));
    await expect(admission.enter()).rejects.toThrow(/xa\.waitersMax 2 is reached/);
    await vi.advanceTimersByTimeAsync(WAIT_MS);
    await Promise.all(waiting);
  });

  it('refuses new and waiting transactions once it is closed, and waits for those inside', async () => {
    const admission = admissionOf(1);
    const leave = await admission.enter();
    const waiting = expect(admission.enter()).rejects.toThrow(XaUnavailable);
    let isClosed = false;
    const closed = admission.close().then(() => {
      isClosed = true;
    });
    await waiting;
    await expect(admission.enter()).rejects.toThrow(/stopping/);
    expect(isClosed).toBe(false);
    leave();
    await closed;
  });

  it('closes at once if no transaction is inside', async () => {
    await admissionOf(1).close();
  });
});
