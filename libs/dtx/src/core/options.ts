/**
 * The options of the core, and building blocks for the options of the schemes. docs/configuration.md is generated from
 * them.
 */
import { z } from 'zod';
import { problemOfBrokerUrls } from './broker-urls.js';
import { COMPATIBLE_FROM_RULE, isWindowValid } from './database/schema-window.js';
import { isTablePrefix, TABLE_PREFIX, TABLE_PREFIX_RULE } from './database/table-prefix.js';
import { OptionsError } from './errors/errors.js';
import { problemOfServerUrl } from './server-url.js';

const ms = (fallback: number) => z.number().int().min(1).max(2_147_483_647).default(fallback);
const count = (fallback: number, max = 100_000) => z.number().int().min(1).max(max).default(fallback);
/** The URL of a server. The error text omits the value, which may contain a password. */
const redisUrl = z.string().superRefine((text, context) => {
  const problem = problemOfServerUrl('redis', text);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});
/** The URLs of the nodes of one broker, checked in the same way. */
const brokerUrls = z
  .union([z.string(), z.array(z.string()).readonly()], {
    error: 'expected an amqp(s) URL, or a list; is its variable set?',
  })
  .superRefine((given, context) => {
    const problem = problemOfBrokerUrls(given);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

/**
 * An http(s) URL without user and password. `fetch` rejects a URL with credentials (Fetch standard), and logs would
 * show them.
 */
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
    .strictObject({
      /** The first wait. */
      firstMs: ms(firstMs),
      /** Each wait is the one before it times this. */
      factor: z.number().min(1).max(10).default(factor),
      /** The longest wait. */
      capMs: ms(capMs),
    })
    .prefault({});

export { count as countOption, ms as msOption };

/** A statement of a migration, as `Migration` describes it. */
const statement = z.union([z.string(), z.strictObject({ unless: z.string(), sql: z.string() })]);
/** `Migration`, as an option. */
const migration = z
  .object({
    version: z.number().int().min(1),
    name: z.string(),
    up: z.array(statement).readonly(),
    compatibleFrom: z.number().optional(),
  })
  .refine(isWindowValid, { path: ['compatibleFrom'], message: `expected ${COMPATIBLE_FROM_RULE}` });
/**
 * The upper limit of `handlerTimeoutMs`. RabbitMQ closes the channel of a delivery without acknowledgement after 30
 * minutes (`consumer_timeout`). A handler, its `@OnRejected` and its `@BeforeAck` must fit into that time.
 */
const HANDLER_TIMEOUT_MS_MAX = 9 * 60_000;

/** Options of the core. Times in milliseconds; `Max` and `Min` are counts. */
export const coreOptions = z.strictObject({
  /** Name of this app, the first part of its queue names. */
  app: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  /**
   * AMQP URL of the broker, or the URLs of the nodes of one cluster: a list, or one text with commas. They differ only
   * in host and port. A connection begins at a random node and moves on to the next one after a failure.
   */
  rabbitmqUrl: brokerUrls,
  /**
   * First part of all queue names, and of the keys in Redis. Two environments on one virtual host or Redis database need
   * different ones. All services that exchange messages need the same one.
   */
  queuePrefix: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,15}$/)
    .default('dtx'),
  /**
   * Type of the queues that several processes share: messages, receipts, calls. A quorum queue
   * survives the loss of a node of a RabbitMQ cluster. `classic` suits one node. `classic-to-quorum` is the first step of a
   * rolling upgrade. See docs/upgrading.md.
   */
  queues: z.enum(['quorum', 'classic-to-quorum', 'classic']).default('quorum'),
  /**
   * First part of all table names of the library, before `_`. Two environments in one schema need different ones. The
   * tables of the app itself are not renamed. See docs/schema.md.
   */
  tablePrefix: z.string().refine(isTablePrefix, `expected ${TABLE_PREFIX_RULE}`).default(TABLE_PREFIX),
  /** URL of Redis. Required where a consumer has `duplicates: 'redis'`. */
  redisUrl: redisUrl.optional(),
  /** URL that each new alert is posted to, in addition to the log and the table `dtx_alert`. */
  alertWebhook: httpUrlOption.optional(),
  /**
   * Whether this instance takes messages and calls of its queues. False for an instance that only serves an API. It then
   * mounts no handler, and other instances of the app take the messages.
   */
  consumers: z.boolean().default(true),
  /**
   * Whether this instance runs background work: scans, resends, receipts, check-back, recovery, purges. False leaves
   * that to other instances or to `BackgroundWork.runOnce()`. A message is still sent right after its commit.
   */
  relay: z.boolean().default(true),
  /**
   * Whether the global guards, pipes, interceptors and filters of the application apply to messages too. A global guard
   * then sees contexts of type `rpc`.
   */
  inheritAppConfig: z.boolean().default(false),
  /** The app's own migrations, applied together with those of the library. */
  migrations: z.array(migration).readonly().default([]),
  /**
   * Who applies migrations at start, see docs/schema.md. `auto`: this app, which needs CREATE and ALTER for a new version.
   * `check`: another account, and the app waits until the recorded versions are up to date. `false`: nothing is read.
   */
  migrate: z.literal(['auto', 'check', false]).default('auto'),
  /** Lock wait of the library's sessions, for a row or a table. The app's own pool is not changed. */
  lockWaitSeconds: count(3, 600),
  /** Time limit for a connection of the library's pools. After it the call fails with `DatabaseUnavailable`. */
  acquireTimeoutMs: ms(5_000),
  /**
   * Time limit for one statement in the library's own sessions. At the limit the connection is closed and the work is
   * retried. The effective limit is at least `lockWaitSeconds` plus 2 s. Migrations have no limit.
   */
  statementTimeoutMs: ms(5_000),
  /**
   * Time limit for one run of user code: a handler, a participant, the work of a message, a hook. At the limit its
   * transaction is rolled back and the attempt fails. Keep it below the broker's `consumer_timeout` (30 minutes).
   */
  handlerTimeoutMs: z.number().int().min(100).max(HANDLER_TIMEOUT_MS_MAX).default(60_000),
  /**
   * A server ends the session of a handler after this time without a sign of life from its process. A live process
   * gives that sign while user code is slow.
   */
  workSilenceSeconds: z.number().int().min(3).max(28_800).default(20),
  /** Connections for scans, marks and recovery. They never wait behind business transactions. */
  ownPoolSize: count(4, 64),
  /** Connections for handlers, participants and shared transactions. The default is the pool size of the app's DataSource. */
  workPoolSize: z.number().int().min(1).max(1_000).optional(),
  /**
   * Reaction to SQL on another connection inside a handler. A rollback does not undo such SQL, and each retry repeats
   * it. `refuse` throws, `count` only counts it in `dtx_stray_statements_total`.
   */
  strayStatements: z.enum(['refuse', 'count']).default('refuse'),
  /** Interval between two scans of a table, with 20 percent of jitter. */
  scanIntervalMs: ms(1_000),
  /** Lifetime of a claim. If the process dies, another instance takes the row after this time. */
  leaseMs: ms(5_000),
  /** Largest number of stored deliveries in one claim, and of rows in work at once in a sweep. */
  claimBatchMax: count(200, 5_000),
  /**
   * Grace period for a consumer without any running instance, before an alert is raised. Covers restarts and
   * deployments.
   */
  absentMs: ms(300_000),
  /** Backoff between attempts to reach the broker, the database or Redis: first wait, factor, cap. */
  reconnect: backoffOption(200, 2, 5_000),
  /** Time limit for one publish with its confirm, and for each call on a channel. */
  publishTimeoutMs: ms(10_000),
  /** Largest number of publishes without a confirm. */
  publishWindowMax: count(500, 10_000),
  /** AMQP heartbeat. A connection is closed after two missed ones. */
  heartbeatSeconds: count(10, 600),
  /** Unacknowledged deliveries per consumer, which is also its concurrency. */
  prefetch: count(32, 1_000),
  /** Time limit for work in progress during a graceful stop. */
  drainMs: ms(10_000),
  /** Handling of messages, and their receipts. */
  inbox: z
    .strictObject({
      /** Attempts of a handler before the delivery is parked. */
      attemptsMax: count(8, 1_000),
      /** Backoff between attempts of a handler: first wait, factor, cap. */
      backoff: backoffOption(1_000, 3, 600_000),
      /**
       * Duplicate detection window: how long a handled message id is kept. An older message is parked, never handled.
       */
      retentionMs: z
        .number()
        .int()
        .min(60_000)
        .default(8 * 86_400_000),
      /** How long receipts are collected before they are sent as one message. */
      receiptDelayMs: ms(3),
      /** Largest number of receipts in one message. */
      receiptBatchMax: count(100, 1_000),
    })
    .prefault({}),
  /** Consumers with `duplicates: 'redis'`. */
  redis: z
    .strictObject({
      /**
       * Lifetime of a claim in Redis. It must exceed the handler's time, otherwise another delivery repeats the work.
       */
      leaseMs: ms(5_000),
      /**
       * Duplicate detection window in Redis: how long a message id is marked as done. The effective time is at least
       * `inbox.retentionMs` and one hour, since younger messages are handled.
       */
      doneTtlMs: ms(8 * 86_400_000),
      /** Interval at which a duplicate delivery checks whether the first one is done. */
      pollMs: ms(200),
    })
    .prefault({}),
  /** How long an `Idempotency-Key` and its outcome are kept. */
  idempotencyRetentionMs: z
    .number()
    .int()
    .min(86_400_000)
    .default(48 * 3_600_000),
  /** How long closed alerts, and records of retries and acknowledgements, are kept. */
  alertRetentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(90 * 86_400_000),
  /** Interval between two removals of finished rows past their retention. */
  purgeIntervalMs: ms(30_000),
  /** Largest number of rows removed by one statement. */
  purgeBatchMax: count(1_000, 10_000),
});

export type CoreOptions = z.output<typeof coreOptions>;
/**
 * The options of `DtxModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type CoreOptionsInput = z.input<typeof coreOptions>;

/**
 * Checks options at start.
 * @throws OptionsError with one line that names every wrong option and the expected value
 */
export function parseOptions<S extends z.ZodType>(section: string, schema: S, given: unknown): z.output<S> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((i) => `${[section, ...i.path].join('.')}: ${i.message}`);
  throw new OptionsError(problems.join('; '));
}
