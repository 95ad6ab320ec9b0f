import { describe, expect, it } from 'vitest';
import { SettledWaits } from './wait-until-settled.js';

describe('SettledWaits', () => {
  it('asks once for all waiting readers, and ends each wait when its transaction is settled', async () => {
    const asked: string[][] = [];
    const open = new Set(['a', 'b']);
    const waits = new SettledWaits(async (ids) => {
      asked.push([...ids].sort());
      if (asked.length === 2) open.delete('a');
      if (asked.length === 4) open.delete('b');
      return ids.filter((id) => open.has(id));
    });
    const ended: string[] = [];
    const readers = ['a', 'b', 'a', 'b', 'a'].map((id) => waits.wait(id, 60_000).then(() => ended.push(id)));
    await Promise.all(readers);
    expect(ended).toEqual(['a', 'a', 'a', 'b', 'b']);
    expect(asked).toEqual([['a', 'b'], ['a', 'b'], ['b'], ['b']]);
  });

  it('ends a wait at its time limit, also while the database is unavailable, and then asks no more', async () => {
    let asked = 0;
    const waits = new SettledWaits(async () => {
      asked += 1;
      throw new Error('unavailable');
    });
    await waits.wait('a', 60);
    const before = asked;
    await waits.wait('b', 60);
    expect(before).toBeGreaterThan(0);
    expect(asked).toBeLessThan(2 * before + 3);
  });
});
