import { z } from 'zod';
import { countOption, httpUrlOption, msOption } from '../core/options.js';
import type { MetricsRegistry } from './metrics-registry.js';

const isRegistry = (given: unknown) => typeof (given as MetricsRegistry | null)?.registerMetric === 'function';

/** An origin as browsers send it: no path, no slash at its end. */
const isOrigin = (text: string) =>
  URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text;

/** Text that arrives unchanged in a header, from whose value HTTP strips white space (RFC 9110, 5.5). */
const TOKEN = /^[!-~]([ -~]*[!-~])?$/;

/** Options of the operations. Times in milliseconds. */
export const opsOptions = z.strictObject({
  /**
   * Bearer token of `/dtx`: ASCII letters, digits and signs, without spaces around them. Use 16 or more at random. Required
   * unless `guard` is given, or `endpoints` leaves out `operations`.
   */
  adminToken: z
    .string()
    .regex(TOKEN, 'must be ASCII without spaces or line breaks around it, since it is sent in a header')
    .optional(),
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
  /**
   * Origins whose pages may call `/dtx`, such as `https://ops.example`, where the console of another app shows this one.
   * The default is none.
   */
  corsOrigins: z
    .array(z.string().refine(isOrigin, 'expected an origin such as https://ops.example'))
    .readonly()
    .default([]),
  /** Whether `/dtx/console` is served, if the package `nest-dtx-console` is installed. */
  console: z.boolean().default(true),
  /**
   * The apps that the console shows beside this one: a name, and the URL of its `/dtx`. Each of them lists the origin of this
   * app in its `corsOrigins`.
   */
  consoleApps: z
    .array(z.strictObject({ name: z.string().min(1).max(64), url: httpUrlOption }))
    .readonly()
    .default([]),
  /** Wrong admin tokens from one address in a minute. After it all calls of the address are 429 until the minute ends. */
  wrongTokensMax: countOption(30),
  /**
   * Whether operators may read the business data of a row. `masked` hides the values of `maskedFields`. `hidden` shows
   * nothing.
   */
  payloads: z.enum(['hidden', 'masked']).default('hidden'),
  /** Parts of the names of fields whose values are never shown, in any case and spelling. */
  maskedFields: z
    .array(z.string().min(1))
    .readonly()
    .default(['password', 'secret', 'token', 'authorization', 'cookie', 'apikey', 'card', 'cvv', 'iban', 'ssn']),
  /** Names that `degraded` does not list. A name that ends in `*` is a prefix. */
  ignoreDegraded: z.array(z.string().min(1)).readonly().default([]),
});

export type OpsOptions = z.output<typeof opsOptions>;
/**
 * The options of `OpsModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type OpsOptionsInput = z.input<typeof opsOptions>;
export const OPS_OPTIONS = Symbol('dtx ops options');
