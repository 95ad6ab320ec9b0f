import { checkBroker } from './check-broker.js';
import { checkDatabase } from './check-database.js';
import { checkRedis } from './check-redis.js';
import { BROKER, type Command, DATABASE, REDIS, readArguments, type Terminal, UsageError } from './command.js';
import { type Finding, lineOfFinding } from './finding.js';
import { QUEUE_OPTIONS, queueOptionsFrom } from './queues-command.js';
import { SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = {
  url: { type: 'string' },
  rabbitmq: { type: 'string' },
  redis: { type: 'string' },
  ...QUEUE_OPTIONS,
  ...TABLE_PREFIX_OPTION,
} as const;

/** Part of the name of the queue by which rights are tried, if no app is given. */
const NAMELESS_APP = 'doctor';

/**
 * Checks servers, settings and rights with the account of the app, one line per check. It changes nothing that stays.
 * @returns 1 if a check has failed
 */
export const doctorCommand: Command = {
  usage: `doctor [--url <mysql://...>] [--rabbitmq <amqp://...[,amqp://...]>] [--redis <redis://...>] ${SCHEMES_USAGE} [--app <name> --contracts <module> [--queues quorum]] [--prefix dtx] ${TABLE_PREFIX_USAGE}`,
  summary: 'checks servers, settings and rights, and exits with 1 if a check fails',
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const schemes = schemesFrom(values.schemes);
    const names = tableNamesFrom(values);
    const queues = values.contracts === undefined ? undefined : queueOptionsFrom(values);
    const url = (option: string | undefined, { variable }: typeof DATABASE) => option ?? terminal.env[variable];
    const [database, broker, redis] = [
      url(values.url, DATABASE),
      url(values.rabbitmq, BROKER),
      url(values.redis, REDIS),
    ];
    if (!database && !broker && !redis)
      throw new UsageError(
        'missing --url, --rabbitmq or --redis (or DTX_DATABASE_URL, DTX_RABBITMQ_URL, DTX_REDIS_URL)',
      );
    let failures = 0;
    const report = (finding: Finding) => {
      // After Ctrl-C a check fails only because its connection was closed.
      if (terminal.signal.aborted) return;
      if (!finding.isOk) failures++;
      terminal.say(lineOfFinding(finding));
    };
    const { signal } = terminal;
    if (database) await checkDatabase(database, { schemes, names, signal }, report);
    stopIfAborted(terminal);
    if (broker)
      await checkBroker(
        broker,
        { app: values.app ?? NAMELESS_APP, prefix: values.prefix ?? 'dtx', queues, signal },
        report,
      );
    stopIfAborted(terminal);
    if (redis) await checkRedis(redis, report);
    stopIfAborted(terminal);
    terminal.say(failures === 0 ? 'all checks passed' : `${failures} check(s) failed`);
    return failures === 0 ? 0 : 1;
  },
};

/** Checks report their errors. Without this, a signal would start the next check, or end in a verdict. */
function stopIfAborted({ signal }: Terminal): void {
  if (signal.aborted) throw new Error('stopped');
}
