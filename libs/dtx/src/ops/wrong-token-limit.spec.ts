import { describe, expect, it } from 'vitest';
import { WRONG_TOKENS_WINDOW_MS, WrongTokenLimit } from './wrong-token-limit.js';

describe('WrongTokenLimit', () => {
  it('refuses an address after the last allowed wrong token, until its minute ends', () => {
    const limit = new WrongTokenLimit(3);
    for (let n = 0; n < 3; n++) {
      expect(limit.waitMs('a', 1_000)).toBe(0);
      limit.count('a', 1_000);
    }
    expect(limit.waitMs('a', 1_000)).toBe(WRONG_TOKENS_WINDOW_MS);
    expect(limit.waitMs('a', 31_000)).toBe(WRONG_TOKENS_WINDOW_MS - 30_000);
    expect(limit.waitMs('a', 1_000 + WRONG_TOKENS_WINDOW_MS)).toBe(0);
  });

  it('counts each address alone, and starts anew after a minute', () => {
    const limit = new WrongTokenLimit(2);
    limit.count('a', 0);
    limit.count('b', 0);
    expect([limit.waitMs('a', 0), limit.waitMs('b', 0)]).toEqual([0, 0]);
    limit.count('a', WRONG_TOKENS_WINDOW_MS);
    expect(limit.waitMs('a', WRONG_TOKENS_WINDOW_MS)).toBe(0);
  });

  it('forgets the oldest address when a thousand others follow', () => {
    const limit = new WrongTokenLimit(1);
    limit.count('first', 0);
    for (let n = 0; n < 999; n++) limit.count(`${n}`, 0);
    expect(limit.waitMs('first', 0)).toBeGreaterThan(0);
    limit.count('last', 0);
    expect(limit.waitMs('first', 0)).toBe(0);
  });
});
