import { z } from 'zod';
import { OptionsError } from './errors/errors.js';
import { problemOfServerUrl, type ServerKind } from './server-url.js';

const ms = (fallback: number) => z.number().int().min(1).max(2_147_483_647).default(fallback);
const count = (fallback: number, max = 100_000) => z.number().int().min(1).max(max).default(fallback);
/** The URL of a server. What is wrong with it is told without the value, which may contain a password. */
const serverUrl = (kind: ServerKind) =>
  z.string().superRefine((text, context) => {
    const problem = problemOfServerUrl(kind, text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

/** An http(s) URL that can be called. One with a password in it cannot (Fetch standard), and would end up in logs. */
export const httpUrlOption = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && !hasUser(new URL(text)),
    'expected an http(s) URL without user and password',
  );
const hasUser = ({ username, password }: URL) => username !== '' || password !== '';

/** A backoff as an option: first wait, factor and cap. */
export const backoffOption = (firstMs: number, factor: number, capMs: number) =>
  z
    .strictObject({ firstMs: ms(firstMs), factor: z.number().min(1).max(10).default(factor), capMs: ms(capMs) })
    .prefault({});

export { count as countOption, ms as msOption };

/** A statement of a migration, as `Migration` describes it. */
const statement = z.union([z.string(), z.strictObject({ unless: z.string(), sql: z.string() })]);
/** A row that keeps late comers out must outlast the longest that they may take, and the disorder of an outage. */
const RETENTION_TIMES_TIMEOUT = 10;

/** For `superRefine` of a section with both: a retention that ends while a transaction may still be running is refused. */
export function retentionOutlastsTimeout(
  { timeoutMs, retentionMs }: { timeoutMs: number; retentionMs: number },
  context: { addIssue(issue: { code: 'custom'; path: string[]; message: string }): void },
): void {
  if (retentionMs >= RETENTION_TIMES_TIMEOUT * timeoutMs) return;
  const message = `${retentionMs} is less than ${RETENTION_TIMES_TIMEOUT} times timeoutMs, which is ${timeoutMs}`;
  context.addIssue({ code: 'custom', path: ['retentionMs'], message });
}

/**
 * The broker takes a message from a consumer that has not acknowledged it for 30 minutes. Until then a handler, its
 * `@OnRejected` and its `@BeforeAck` may each take their time.
 */
const HANDLER_TIMEOUT_MS_MAX = 9 * 60_000;

/** Options of the core. Times in milliseconds; `Max` and `Min` are counts. */
export const coreOptions = z.strictObject({
  /** Name of this app: part of its queues, 1-32 of [a-z0-9-]. */
  app: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  rabbitmqUrl: serverUrl('broker'),
  /** Needed where a consumer knows duplicates by Redis. */
  redisUrl: serverUrl('redis').optional(),
  /** Where alerts are posted beside log and table; none by default. */
  alertWebhook: httpUrlOption.optional(),
  /** The app's own schema, applied together with the library's. */
  migrations: z
    .array(z.object({ version: z.number().int().min(1), name: z.string(), up: z.array(statement).readonly() }))
    .readonly()
    .default([]),
  /** How long a statement in a session of the library's waits for a row or a table. The app's own pool is left as it is. */
  lockWaitSeconds: count(3, 600),
  /** How long the library waits for a connection of its pools. Then the call is `DatabaseUnavailable`. */
  acquireTimeoutMs: ms(5_000),
  /**
   * How long one statement of the library's own may take. Then its connection is closed, and the loop goes on. At least two
   * seconds more than `lockWaitSeconds`, whatever is given. Migrations are not limited by it.
   */
  statementTimeoutMs: ms(5_000),
  /**
   * How long the user's code may take in one go: a handler, a participant, a hook. Then its
   * transaction is ended, and the attempt has failed. Keep it below the broker's `consumer_timeout` (30 minutes).
   */
  handlerTimeoutMs: z.number().int().min(100).max(HANDLER_TIMEOUT_MS_MAX).default(60_000),
  /**
   * After so long without a sign of life of this process, the server ends the session and the transaction of a handler.
   * While user code is slow, this process gives that sign itself.
   */
  workSilenceSeconds: z.number().int().min(3).max(28_800).default(20),
  /** Connections of the library's own pool: scans, marks and recovery never wait behind the business. */
  ownPoolSize: count(4, 64),
  /** Connections for handlers and participants; as many as the app's own pool has unless this says otherwise. */
  workPoolSize: z.number().int().min(1).max(1_000).optional(),
  /**
   * What to do with SQL on another connection inside a handler or participant: it is not undone with the transaction, and
   * done again at each retry. `count` lets it through and counts it (`dtx_stray_statements_total`).
   */
  strayStatements: z.enum(['refuse', 'count']).default('refuse'),
  scanIntervalMs: ms(1_000),
  /** How long a claim keeps a row for the process that claimed it. */
  leaseMs: ms(5_000),
  claimBatchMax: count(200, 5_000),
  /**
   * How long nobody may serve a consumer before a person is told: a restart or a deployment takes a while. Also how long a
   * message may be without a report from its consumers.
   */
  absentMs: ms(300_000),
  reconnect: backoffOption(200, 2, 5_000),
  publishTimeoutMs: ms(10_000),
  /** Publishes in flight without their confirm. */
  publishWindowMax: count(500, 10_000),
  heartbeatSeconds: count(10, 600),
  prefetch: count(32, 1_000),
  /** How long a graceful stop waits for the work that is under way. */
  drainMs: ms(10_000),
  inbox: z
    .strictObject({
      /** Tries of a handler before the delivery is parked. */
      attemptsMax: count(8, 1_000),
      backoff: backoffOption(1_000, 3, 600_000),
      /** How long a handled id is remembered; an older message is parked, never handled. */
      retentionMs: z
        .number()
        .int()
        .min(60_000)
        .default(8 * 86_400_000),
      receiptDelayMs: ms(3),
      receiptBatchMax: count(100, 1_000),
    })
    .prefault({}),
  redis: z
    .strictObject({
      /** How long a claim keeps others from the same message: longer than its work takes, or that is done twice. */
      leaseMs: ms(5_000),
      /** How long a message is known to be done. */
      doneTtlMs: ms(8 * 86_400_000),
      /** How often a second delivery looks whether the first is done. */
      pollMs: ms(200),
    })
    .prefault({}),
  idempotencyRetentionMs: z
    .number()
    .int()
    .min(86_400_000)
    .default(48 * 3_600_000),
  /** How often finished rows past their retention are removed. */
  purgeIntervalMs: ms(30_000),
  purgeBatchMax: count(1_000, 10_000),
});

export type CoreOptions = z.output<typeof coreOptions>;
export type CoreOptionsInput = z.input<typeof coreOptions>;

/** Checks options at start. @throws OptionsError, one line that names every wrong option and says what was expected */
export function parseOptions<S extends z.ZodType>(section: string, schema: S, given: unknown): z.output<S> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((i) => `${[section, ...i.path].join('.')}: ${i.message}`);
  throw new OptionsError(problems.join('; '));
}
