import { describe, expect, it } from 'vitest';
import { beforeOf, cursorOf } from './page-cursor.js';

describe('queries of /dtx', () => {
  it('read the id back from a cursor, and refuse a forged cursor', () => {
    expect(beforeOf(cursorOf('m1.inventory.take-stock'))).toBe('m1.inventory.take-stock');
    expect(beforeOf(undefined)).toBeUndefined();
    expect(() => beforeOf(cursorOf("x' OR 1=1"))).toThrow(/cursor/);
  });
});
