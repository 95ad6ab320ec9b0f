import { type ExecutionContext, Logger, UnauthorizedException } from '@nestjs/common';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdminGuard } from './admin.guard.js';
import { countInto } from './event-metrics.js';
import { loadPromClient } from './metrics-registry.js';

const TOKEN = 'the token of this test';

const callWith = (authorization?: string) =>
  ({
    switchToHttp: () => ({ getRequest: () => ({ headers: { authorization }, ip: '10.0.0.7' }) }),
  }) as unknown as ExecutionContext;

describe('AdminGuard', () => {
  const registry = new Registry();
  let endCounting: () => void;
  let warn: ReturnType<typeof vi.spyOn>;

  beforeEach(async () => {
    vi.useFakeTimers();
    registry.clear();
    endCounting = countInto(registry, await loadPromClient());
    warn = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
  });
  afterEach(() => {
    endCounting();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  const counted = async (token: string) => {
    const { values } = await registry.getSingleMetric('dtx_denied_total')!.get();
    return values.find(({ labels }) => labels.token === token)?.value;
  };

  it('admits the token, and counts and logs nothing then', async () => {
    const guard = new AdminGuard(TOKEN, { wrongTokensMax: 100_000 });
    expect(guard.canActivate(callWith(`Bearer ${TOKEN}`))).toBe(true);
    expect(await counted('wrong')).toBeUndefined();
    expect(warn).not.toHaveBeenCalled();
  });

  it('answers 429 after too many wrong tokens of an address, with the right token too, and admits again after a minute', () => {
    const guard = new AdminGuard(TOKEN, { wrongTokensMax: 3 });
    const header = vi.fn();
    const call = (authorization: string | undefined, ip = '10.0.0.7') => {
      const http = { getRequest: () => ({ headers: { authorization }, ip }), getResponse: () => ({ header }) };
      return guard.canActivate({ switchToHttp: () => http } as unknown as ExecutionContext);
    };
    for (let n = 0; n < 3; n++) expect(() => call('Bearer x')).toThrow(UnauthorizedException);
    expect(() => call(`Bearer ${TOKEN}`)).toThrow('too many wrong admin tokens from this address; retry after 60 s');
    expect(header).toHaveBeenCalledWith('retry-after', '60');
    expect(() => call(undefined)).toThrow(UnauthorizedException);
    expect(call(`Bearer ${TOKEN}`, '10.0.0.8')).toBe(true);
    vi.advanceTimersByTime(60_000);
    expect(call(`Bearer ${TOKEN}`)).toBe(true);
  });

  it('counts each refused call', async () => {
    const guard = new AdminGuard(TOKEN, { wrongTokensMax: 100_000 });
    for (const given of ['Bearer x', 'Bearer y', undefined, 'Basic z'])
      expect(() => guard.canActivate(callWith(given))).toThrow(UnauthorizedException);
    expect([await counted('wrong'), await counted('missing')]).toEqual([2, 2]);
  });

  it('logs the first refused call, and at most one line per minute after it, never with the token', () => {
    const guard = new AdminGuard(TOKEN, { wrongTokensMax: 100_000 });
    const refuse = (times: number) => {
      for (let n = 0; n < times; n++) expect(() => guard.canActivate(callWith(`Bearer guess-${n}`))).toThrow();
    };
    refuse(1_000);
    expect(warn.mock.calls.flat()).toEqual([expect.stringMatching(/^refused 1 call.* from 10\.0\.0\.7$/)]);
    vi.advanceTimersByTime(60_000);
    refuse(1_000);
    expect(warn.mock.calls.flat()).toEqual([expect.anything(), expect.stringMatching(/^refused 1000 call/)]);
    expect(JSON.stringify(warn.mock.calls)).not.toMatch(/guess|the token of/);
  });
});
