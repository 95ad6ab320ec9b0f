/** Short times, so that a case takes seconds. */
export const SHORT_TIMES = {
  core: {
    leaseMs: 700,
    scanIntervalMs: 100,
    publishTimeoutMs: 2_000,
    reconnect: { firstMs: 50, factor: 2, capMs: 500 },
    inbox: { attemptsMax: 50, backoff: { firstMs: 100, factor: 1.5, capMs: 500 } },
    redis: { leaseMs: 1_000, pollMs: 50 },
  },
  // Slow enough that a busy machine sends no message twice.
  localMessage: { resend: { firstMs: 3_000, factor: 1.5, capMs: 5_000 }, attemptsMax: 100, markDelayMs: 1 },
  tcc: {
    // The first checkout of a fresh process is slow on a busy machine. Every case of the deadline waits this long.
    timeoutMs: 4_000,
    callTimeoutMs: 500,
    secondPhaseWaitMs: 1_000,
    attemptsMax: 100,
    backoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    markDelayMs: 1,
  },
  saga: { callTimeoutMs: 1_000, attemptsMax: 100, backoff: { firstMs: 100, factor: 1.5, capMs: 500 } },
  halfMessage: {
    levelsMs: [1_000, 1_500, 2_000],
    markDelayMs: 1,
    // The check comes before the sweeper, which has a row of its own.
    sweepAfterMs: 20_000,
    sweepBackoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    attemptsMax: 100,
  },
  xa: {
    timeoutMs: 1_500,
    secondPhaseWaitMs: 1_000,
    callTimeoutMs: 1_500,
    attemptsMax: 1_000,
    backoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    markDelayMs: 1,
  },
  notify: { ladderMs: Array(20).fill(200), callTimeoutMs: 500, markDelayMs: 1 },
};
