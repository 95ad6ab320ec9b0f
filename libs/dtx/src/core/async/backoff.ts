/** Capped exponential backoff. All times in milliseconds. */
export interface Backoff {
  readonly firstMs: number;
  readonly factor: number;
  readonly capMs: number;
}

/** A retry schedule with explicit waits. The last wait repeats. Milliseconds. */
export interface RetrySchedule {
  readonly stepsMs: readonly number[];
}

/**
 * The wait after attempt number `attempt` (1 = the first), in milliseconds: exponential and capped, or a step of a
 * retry schedule. A random spread of 25 % keeps rows that failed together from retrying together.
 * @example
 *   backoffMs({ firstMs: 1_000, factor: 3, capMs: 600_000 }, 2); // 2250 to 3750
 */
export function backoffMs(
  backoff: Backoff | RetrySchedule,
  attempt: number,
  random: () => number = Math.random,
): number {
  const exponent = Math.min(Math.max(attempt, 1) - 1, 62);
  const plain =
    'stepsMs' in backoff
      ? (backoff.stepsMs[Math.min(exponent, backoff.stepsMs.length - 1)] ?? 0)
      : Math.min(backoff.capMs, backoff.firstMs * backoff.factor ** exponent);
  return Math.round(plain * (0.75 + random() * 0.5));
}

/** The same wait as an SQL expression over an attempt number. For statements that reschedule many rows at once. */
export function backoffSql(backoff: Backoff, attempt: string): string {
  const exponent = `LEAST(GREATEST(${attempt}, 1) - 1, 62)`;
  const plain = `LEAST(${Number(backoff.capMs)}, ${Number(backoff.firstMs)} * POW(${Number(backoff.factor)}, ${exponent}))`;
  return `UTC_TIMESTAMP(3) + INTERVAL ROUND(${plain} * (0.75 + RAND() * 0.5) * 1000) MICROSECOND`;
}
