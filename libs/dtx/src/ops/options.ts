import { z } from 'zod';
import { msOption } from '../core/options.js';
import type { MetricsRegistry } from './metrics-registry.js';

const isRegistry = (given: unknown) => typeof (given as MetricsRegistry | null)?.registerMetric === 'function';

/** Options of the operations. Times in milliseconds. */
export const opsOptions = z.strictObject({
  /** Bearer token of `/dtx`. Required unless `guard` is given, or `endpoints` leaves out `operations`. */
  adminToken: z.string().min(1, 'must not be empty').optional(),
  /** A registry of prom-client that the metrics are added to. Without it they are in a private one. */
  registry: z.custom<MetricsRegistry>(isRegistry, 'expected a Registry of prom-client').optional(),
  /** Largest age of the counts of open rows before they are counted again. Slow counts are repeated less often. */
  countsFreshMs: msOption(2_000),
  /** Time limit for the count of one table. After it the last counts stay, with their age. */
  countLimitMs: msOption(10_000),
  /** Largest age of the last test write to the database and to Redis, before readiness writes again. */
  probeFreshMs: msOption(1_000),
  /** Time limit for a test write. After it the write counts as failed. */
  probeLimitMs: msOption(2_000),
  /** Names that `degraded` does not list. A name that ends in `*` is a prefix. */
  ignoreDegraded: z.array(z.string().min(1)).readonly().default([]),
});

export type OpsOptions = z.output<typeof opsOptions>;
/**
 * The options of `OpsModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type OpsOptionsInput = z.input<typeof opsOptions>;
export const OPS_OPTIONS = Symbol('dtx ops options');
