import { describe, expect, it } from 'vitest';
import { minuteNow } from '../../libs/console/src/instances.js';
import { lastHour } from '../../libs/console/src/last-hour.js';
import { parkedByScheme } from '../../libs/console/src/parked-by-scheme.js';
import type { Minute, SummaryRow } from '../../libs/console/src/types.js';

const MINUTE = 60_000;
const NOON = Date.parse('2026-01-01T12:00:00.000Z');
const minute = (offset: number): Minute => ({ at: new Date(NOON + offset * MINUTE).toISOString(), schemes: {} });

describe('the axis of a chart', () => {
  it('ends now, so minutes without an answer are a gap at its end', () => {
    const minutes = [minute(-2), minute(-1), minute(0)];
    expect(lastHour(minutes, NOON).slice(-3)).toEqual(minutes);
    const later = lastHour(minutes, NOON + 5 * MINUTE + 59_000);
    expect(later.slice(-8)).toEqual([...minutes, ...new Array(5).fill(undefined)]);
    expect(lastHour(minutes, NOON + 60 * MINUTE).filter(Boolean)).toEqual([]);
  });

  it('goes on by the clock of the instances, whatever the clock of the viewer says', () => {
    const heardAt = 1_000_000;
    const heard = [
      { view: { minutes: [minute(-9)] }, heardAt: heardAt - 9 * MINUTE },
      { view: { minutes: [minute(-1), minute(0)] }, heardAt },
    ];
    expect(minuteNow(heard, heardAt)).toBe(NOON);
    expect(minuteNow(heard, heardAt + 3 * MINUTE)).toBe(NOON + 3 * MINUTE);
  });
});

describe('the preview of a retry of all', () => {
  it('adds up the tables of a scheme, and offers it once', () => {
    const row = (scheme: string, source: string, parked: number): SummaryRow => ({
      ...{ scheme, source, parked, states: {}, oldestDueMs: null, ageMs: 0 },
    });
    const rows = [
      row('tcc', 'dtx_tcc', 1),
      row('m', 'dtx_outbox', 0),
      row('m', 'dtx_inbox', 3),
      row('m', 'dtx_half', 4),
    ];
    expect(parkedByScheme(rows)).toEqual([
      { scheme: 'tcc', count: 1, first: rows[0] },
      { scheme: 'm', count: 7, first: rows[2] },
    ]);
  });
});
