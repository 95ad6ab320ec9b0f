import { UsageError } from './command.js';

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/** A duration such as `30m`, `2h` or `8d`, in milliseconds. Undefined for any other text. */
export function durationMs(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  return count === undefined || unit === undefined ? undefined : Number(count) * UNIT_MS[unit]!;
}

/**
 * A past moment: ISO 8601 with its zone, or a duration before now.
 * @param nowMs milliseconds since the epoch, by the clock of the database
 * @returns milliseconds since the epoch
 * @throws UsageError for any other text, and for a moment in the future
 */
export function momentFrom(option: string, text: string, nowMs: number): number {
  const before = durationMs(text);
  const atMs = before === undefined && ISO.test(text) ? Date.parse(text) : nowMs - (before ?? Number.NaN);
  if (Number.isNaN(atMs))
    throw new UsageError(
      `--${option}: expected a time with its zone such as 2026-01-31T12:00:00Z, or 30m, 2h or 3d for that long ago`,
    );
  if (atMs > nowMs)
    throw new UsageError(
      `--${option}: ${new Date(atMs).toISOString()} is in the future; the database says ${new Date(nowMs).toISOString()}`,
    );
  return atMs;
}
