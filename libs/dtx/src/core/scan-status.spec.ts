import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Scan, Scans } from './scan-status.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Scan', () => {
  it('has no problem while its last completed scan is younger than ten seconds', () => {
    const scan = new Scan('dtx_outbox', 100);
    scan.failed('a lock');
    vi.advanceTimersByTime(9_999);
    expect([scan.problem, scan.ageMs]).toEqual(['', 9_999]);
    vi.advanceTimersByTime(1);
    expect(scan.problem).toContain('10 s: a lock');
  });

  it('has no problem while its last completed scan is younger than five rounds of a slow loop', () => {
    const scan = new Scan('dtx_outbox', 60_000);
    vi.advanceTimersByTime(299_999);
    expect(scan.problem).toBe('');
    vi.advanceTimersByTime(1);
    expect(scan.problem).toMatch(/for 300 s$/);
  });

  it('has no problem any more once a scan is completed', () => {
    const scan = new Scan('dtx_outbox', 100);
    scan.failed('a lock');
    vi.advanceTimersByTime(60_000);
    scan.completed();
    expect([scan.problem, scan.ageMs]).toEqual(['', 0]);
    vi.advanceTimersByTime(60_000);
    expect(scan.problem).not.toContain('a lock');
  });
});

describe('Scans', () => {
  it('lists the loops that run', () => {
    const scans = new Scans();
    const [first, second] = [scans.begin('dtx_outbox', 100), scans.begin('dtx_inbox', 100)];
    expect(scans.all).toEqual([first, second]);
    scans.end(first);
    scans.end(undefined);
    expect(scans.all).toEqual([second]);
  });
});
