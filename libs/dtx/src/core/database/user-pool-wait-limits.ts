import type { DataSource } from 'typeorm';
import { z } from 'zod';
import { parseOptions } from '../options.js';
import { pinEach } from './pin-user-sessions.js';
import { guardUserPool } from './user-pool-watch.js';

/** The wait limits of a user DataSource. */
export interface WaitLimits {
  /** The wait for a pooled connection in milliseconds. Afterwards the call fails with `DatabaseUnavailable`. */
  readonly acquireMs?: number;
  /**
   * The wait for the answer to one statement in milliseconds. Afterwards its connection is closed and the error is
   * `PROTOCOL_SEQUENCE_TIMEOUT` of the driver. The limit must exceed the lock waits of the session.
   */
  readonly statementMs?: number;
  /**
   * The silence inside a transaction in whole seconds, after which the server ends the session and its locks. Frees the
   * locks of a stopped process. The default is `wait_timeout` of the server, eight hours. It also ends a transaction
   * that waits for another service for so long. MySQL also ends idle pooled sessions, so set `maxIdle` below the pool
   * size and a shorter `idleTimeout`.
   */
  readonly silenceSeconds?: number;
}

const TIMER_MS_MAX = 2_147_483_647;
/** The maximum of `wait_timeout` and `idle_transaction_timeout` (manuals of the servers, "Server System Variables"). */
const SILENCE_SECONDS_MAX = 31_536_000;
const waitLimits = z.strictObject({
  acquireMs: z.number().int().min(1).max(TIMER_MS_MAX).optional(),
  statementMs: z.number().int().min(1).max(TIMER_MS_MAX).optional(),
  silenceSeconds: z.number().int().min(1).max(SILENCE_SECONDS_MAX).optional(),
});

/**
 * Limits the waits of your own DataSource. The library never does this by itself, because a report may run for an hour.
 * Call it before the application starts, beside `pinSessions`, which limits the lock waits.
 * @throws OptionsError for a limit that is not a whole number of 1 or more, or for `silenceSeconds` with `replication`, whose pools the driver does not expose
 * @example
 *   pinSessions(source);
 *   limitWaits(source, { acquireMs: 5_000, statementMs: 5_000, silenceSeconds: 20 });
 */
export function limitWaits(source: DataSource, limits: WaitLimits): void {
  const { acquireMs, statementMs, silenceSeconds } = parseOptions('limitWaits', waitLimits, limits);
  Object.assign(guardUserPool(source), { waits: { acquireMs, statementMs } });
  if (silenceSeconds !== undefined) pinEach(source, [silenceSql(silenceSeconds)]);
}

/** MariaDB limits only sessions in a transaction. Each server reads its own comment. */
function silenceSql(seconds: number): string {
  return (
    `SET @dtx_silence = ${seconds} /*M!100300 , SESSION idle_transaction_timeout = ${seconds} */ ` +
    `/*!80000 , SESSION wait_timeout = ${seconds} */`
  );
}
