import { z } from 'zod';
import { msOption } from '../core/options.js';

/** Options of the operations. Times in milliseconds. */
export const opsOptions = z.strictObject({
  /** Bearer token of `/dtx`. */
  adminToken: z.string().min(1, 'must not be empty'),
  /** How old counts of open rows may be before they are counted again. A count that takes long is made less often. */
  countsFreshMs: msOption(2_000),
  /** The server ends the count of one table after this time. The figures before it stay, with their age. */
  countLimitMs: msOption(10_000),
  /** How old the last write to the app's database, and to Redis, may be before readiness writes again. */
  probeFreshMs: msOption(1_000),
  /** A write that takes longer counts as none. */
  probeLimitMs: msOption(2_000),
  /** Names that `degraded` does not list, for what a deployment does without. A name that ends in `*` is a beginning. */
  ignoreDegraded: z.array(z.string().min(1)).readonly().default([]),
});

export type OpsOptions = z.output<typeof opsOptions>;
export type OpsOptionsInput = z.input<typeof opsOptions>;
export const OPS_OPTIONS = Symbol('dtx ops options');
