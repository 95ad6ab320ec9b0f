import type { Minute } from './types.js';

export const MINUTES = 60;

/** A place for each minute up to now, oldest first. Minutes without data are gaps, also the last ones. */
export function lastHour(minutes: readonly Minute[], now: number): Array<Minute | undefined> {
  const places = new Array<Minute | undefined>(MINUTES).fill(undefined);
  const last = Math.floor(now / 60_000);
  for (const minute of minutes) {
    const place = MINUTES - 1 - (last - Math.floor(Date.parse(minute.at) / 60_000));
    if (place >= 0 && place < MINUTES) places[place] = minute;
  }
  return places;
}
