/** Reads and checks the environment of an app once at start. Errors never contain values, since URLs contain passwords. */
import { randomBytes } from 'node:crypto';
import { isAllowEntry, isNotifySecret, problemOfBrokerUrls, problemOfServerUrl } from 'nest-dtx';
import { z } from 'zod';
import { problemOfDatabaseUrl } from './database-url.js';
import { type ConsoleApp, consoleApps } from './env-console-apps.js';
import { ORDER_EXPIRY_MS, orderExpiryMs } from './env-order-expiry.js';
import { publicUrl, trustedProxies } from './env-reverse-proxy.js';
import { problemOfSecrets, problemOfToken, withSecretFiles } from './env-secrets.js';

/** An invalid variable. The message is one line that names the variable and the expected value. No stack is printed. */
export class EnvError extends Error {}

/** The checked environment of an app. */
export interface Env {
  port: number;
  /** Address to listen on. */
  host: string;
  production: boolean;
  /** Proxies whose `X-Forwarded-*` headers count. Empty: none. */
  trustProxy: string[];
  /** Base of the URLs in answers. Without it they follow the `Host` header of the request. */
  publicUrl?: string;
  databaseUrl: string;
  /** One URL, or those of the nodes of one cluster with commas. */
  rabbitmqUrl: string;
  redisUrl?: string;
  adminToken: string;
  /** True if this process generated the token, so it has to log it. */
  adminTokenIsNew: boolean;
  alertWebhook?: string;
  notifyUrl?: string;
  /** Secrets that sign notifications, newest first. An empty list turns notifications off. */
  notifySecrets: string[];
  notifyAllow: string[];
  /** Base URL for the order app's inquiries about missing payment results. */
  paymentUrl?: string;
  /** The time in milliseconds after which the order app gives up a PENDING order, or 0 for never. */
  orderExpiryMs: number;
  /** The apps that the console shows together. */
  consoleApps: readonly ConsoleApp[];
  xaPaymentDatabaseUrl?: string;
  xaInventoryDatabaseUrl?: string;
  /** `DTX_OPTIONS`, with a section per module of the library. Each module checks its own section. */
  options: Record<Exclude<keyof typeof sections, 'ops'>, Record<string, unknown>> & { ops?: Record<string, unknown> };
}

const URL_CHARS_MAX = 4_096;

/** Checked with the parser that the drivers use as well. */
const checkedBy = (problemOf: (text: string) => string | null) =>
  z.string().superRefine((text, context) => {
    const problem = problemOf(text);
    if (problem !== null) context.addIssue(problem);
  });

/** A database URL. Options of the driver may follow the `?`. */
const databaseUrl = checkedBy(problemOfDatabaseUrl);

const HTTP_URL = 'must be a URL like https://host/path';
const httpUrl = z
  .string()
  .max(URL_CHARS_MAX, HTTP_URL)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), HTTP_URL)
  .refine((text) => {
    // Credentials in such a URL would be ignored by the calls and would appear in logs.
    if (!URL.canParse(text)) return true; // reported by the check before
    const { username, password } = new URL(text);
    return username === '' && password === '';
  }, 'must be a URL without user and password');
const section = z.record(z.string(), z.unknown(), 'must be an object').default({});
/** Options that have a variable of their own or that the app sets itself. */
const NOT_CORE_OPTIONS = ['app', 'rabbitmqUrl', 'redisUrl', 'alertWebhook', 'migrations'];
const coreSection = section.refine(
  (core) => !NOT_CORE_OPTIONS.some((key) => key in core),
  `must not contain ${NOT_CORE_OPTIONS.join(', ')}`,
);

const NOT_NOTIFY_OPTIONS = ['service', 'secrets', 'defaultTarget', 'allow'];
const notifySection = section.refine(
  (notify) => !NOT_NOTIFY_OPTIONS.some((key) => key in notify),
  `must not contain ${NOT_NOTIFY_OPTIONS.join(', ')}`,
);

const NOT_OPS_OPTIONS = ['adminToken'];
const opsSection = z
  .record(z.string(), z.unknown(), 'must be an object')
  .refine((ops) => !NOT_OPS_OPTIONS.some((key) => key in ops), `must not contain ${NOT_OPS_OPTIONS.join(', ')}`)
  .optional();

const sections = {
  core: coreSection,
  localMessage: section,
  tcc: section,
  saga: section,
  xa: section,
  halfMessage: section,
  reliableMessage: section,
  notify: notifySection,
  ops: opsSection,
};

/** Up to five secrets, newest first. A receiver can change over from one to the next at any time. */
const secrets = z
  .string()
  .transform((text) => text.split(/\s+/).filter(Boolean))
  .refine(
    (list) => list.length <= 5 && list.every(isNotifySecret),
    'must be 1 to 5 secrets separated by spaces, each whsec_ and base64 of 24 bytes or more, or another text of 16 characters or more',
  );

const allowedTargets = z
  .string()
  .transform((text) =>
    text
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean),
  )
  .refine(
    (list) => list.every(isAllowEntry),
    'must be a list of host, host:port, address or CIDR range, separated by commas',
  );

const port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number, 0 (any free one) to 65535')
  .transform(Number)
  .refine((number) => number <= 65_535, 'must be a port number, 0 (any free one) to 65535');

const token = z.string().regex(/^[\x21-\x7e]{1,512}$/, 'must be 1 to 512 visible ASCII characters without spaces');

const options = z
  .string()
  .transform((text, context) => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      context.addIssue('must be JSON, like {"core": {}, "localMessage": {}}');
      return z.NEVER;
    }
  })
  .pipe(
    z.strictObject(sections, {
      error: (issue) =>
        issue.code === 'unrecognized_keys'
          ? `has unknown section "${issue.keys.join('", "')}"; known: ${Object.keys(sections).join(', ')}`
          : 'must be a JSON object, like {"core": {}, "localMessage": {}}',
    }),
  );

const variables = z.object({
  PORT: port.optional(),
  HOST: z.string().max(255).optional(),
  NODE_ENV: z.string().optional(),
  DTX_TRUST_PROXY: trustedProxies.optional(),
  DTX_PUBLIC_URL: publicUrl.optional(),
  DTX_DATABASE_URL: databaseUrl,
  DTX_RABBITMQ_URL: checkedBy(problemOfBrokerUrls),
  DTX_REDIS_URL: checkedBy((text) => problemOfServerUrl('redis', text)).optional(),
  DTX_ADMIN_TOKEN: token.optional(),
  DTX_ALERT_WEBHOOK: httpUrl.optional(),
  DTX_NOTIFY_URL: httpUrl.optional(),
  DTX_NOTIFY_SECRET: secrets.optional(),
  DTX_NOTIFY_ALLOW: allowedTargets.optional(),
  DTX_PAYMENT_URL: httpUrl.optional(),
  DTX_ORDER_EXPIRY_MS: orderExpiryMs.default(ORDER_EXPIRY_MS),
  DTX_XA_PAYMENT_DATABASE_URL: databaseUrl.optional(),
  DTX_XA_INVENTORY_DATABASE_URL: databaseUrl.optional(),
  DTX_CONSOLE_APPS: consoleApps.optional(),
  DTX_OPTIONS: options.prefault('{}'),
  DTX_FAILPOINTS: z.string().optional(),
});

/**
 * Reads the environment. An empty variable counts as missing, since Compose files set empty ones.
 * @throws EnvError that names the first invalid or missing variable
 */
export function readEnv(given: Record<string, string | undefined>, defaults: { port: number }): Env {
  const isSet = (entry: [string, string | undefined]): entry is [string, string] => (entry[1] ?? '') !== '';
  const present = withSecretFiles(Object.fromEntries(Object.entries(given).filter(isSet)), wrong);
  const checked = variables.safeParse(present);
  if (!checked.success) throw new EnvError(firstProblem(checked.error.issues[0], present));

  const env = checked.data;
  const production = env.NODE_ENV === 'production';
  if (production) refuseInProduction(env);
  refuseHalfOfXa(env);
  if (env.DTX_NOTIFY_URL !== undefined && env.DTX_NOTIFY_SECRET === undefined) {
    throw new EnvError('DTX_NOTIFY_SECRET is missing: it signs the notifications to DTX_NOTIFY_URL');
  }
  return {
    port: env.PORT ?? defaults.port,
    host: env.HOST ?? (production ? '0.0.0.0' : '127.0.0.1'),
    production,
    trustProxy: env.DTX_TRUST_PROXY ?? [],
    publicUrl: env.DTX_PUBLIC_URL,
    databaseUrl: env.DTX_DATABASE_URL,
    rabbitmqUrl: env.DTX_RABBITMQ_URL,
    redisUrl: env.DTX_REDIS_URL,
    adminToken: env.DTX_ADMIN_TOKEN ?? randomBytes(24).toString('base64url'),
    adminTokenIsNew: env.DTX_ADMIN_TOKEN === undefined,
    alertWebhook: env.DTX_ALERT_WEBHOOK,
    notifyUrl: env.DTX_NOTIFY_URL,
    notifySecrets: env.DTX_NOTIFY_SECRET ?? [],
    notifyAllow: env.DTX_NOTIFY_ALLOW ?? [],
    paymentUrl: env.DTX_PAYMENT_URL,
    orderExpiryMs: env.DTX_ORDER_EXPIRY_MS,
    consoleApps: env.DTX_CONSOLE_APPS ?? [],
    xaPaymentDatabaseUrl: env.DTX_XA_PAYMENT_DATABASE_URL,
    xaInventoryDatabaseUrl: env.DTX_XA_INVENTORY_DATABASE_URL,
    options: env.DTX_OPTIONS,
  };
}

/** Refuses what only a demo or a test may use: no token, a short or published secret, failpoints. */
function refuseInProduction(env: z.output<typeof variables>): void {
  const { DTX_ADMIN_TOKEN: adminToken, DTX_NOTIFY_SECRET: notifySecrets = [] } = env;
  if (adminToken === undefined)
    throw new EnvError('DTX_ADMIN_TOKEN is missing: it is required with NODE_ENV=production');
  if (env.DTX_FAILPOINTS !== undefined)
    throw new EnvError('DTX_FAILPOINTS is set: failpoints are refused with NODE_ENV=production; unset it');
  const problems = { DTX_ADMIN_TOKEN: problemOfToken(adminToken), DTX_NOTIFY_SECRET: problemOfSecrets(notifySecrets) };
  for (const [variable, problem] of Object.entries(problems)) if (problem !== null) throw wrong(variable, problem);
}

const wrong = (variable: string, problem: string) => new EnvError(`${variable} is wrong: ${problem}`);

/** Refuses one XA URL without the other, since an XA transaction spans all three databases. */
function refuseHalfOfXa(env: Partial<Record<(typeof XA_VARIABLES)[number], string>>): void {
  const given = XA_VARIABLES.filter((variable) => env[variable] !== undefined);
  const lacking = XA_VARIABLES.find((variable) => env[variable] === undefined);
  if (given.length > 0 && lacking)
    throw new EnvError(`${lacking} is missing: XA requires it together with ${given[0]}`);
}

const XA_VARIABLES = ['DTX_XA_PAYMENT_DATABASE_URL', 'DTX_XA_INVENTORY_DATABASE_URL'] as const;

function firstProblem(issue: z.core.$ZodIssue, present: Record<string, unknown>): string {
  const [variable, ...inside] = issue.path.map(String);
  if (!(variable in present)) return `${variable} is missing: ${missing[variable] ?? 'it is required'}`;
  return wrong(variable, `${inside.length > 0 ? `${inside.join('.')} ` : ''}${issue.message}`).message;
}

const missing: Record<string, string> = {
  DTX_DATABASE_URL: "give the URL of this app's own database, like mysql://user:password@host:3306/database",
  DTX_RABBITMQ_URL: 'give the URL of the broker, like amqp://user:password@host:5672/vhost',
};
