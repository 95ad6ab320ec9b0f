import type { SharedQueues } from '../core/broker/queue-prefix.js';
import { parseBrokerUrls } from '../core/broker-urls.js';
import { isStepContract } from '../saga/step-contract.js';
import {
  answerQueuePatternOf,
  type DtxQueue,
  leftoverQueuesOf,
  type QueueContract,
  type QueueParticipant,
  type QueuesOptions,
  queueDefinitions,
  queuesOf,
} from '../schema/queues-of-app.js';
import {
  BROKER,
  type Command,
  listOf,
  readArguments,
  readableUrl,
  type Terminal,
  UsageError,
  urlFrom,
} from './command.js';
import { deleteEmptyQueues } from './delete-empty-queues.js';
import { exportedValues, loadedModule } from './loaded-module.js';
import { SCHEMES_OPTION, SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';

export const QUEUE_OPTIONS = {
  app: { type: 'string' },
  contracts: { type: 'string' },
  levels: { type: 'string' },
  notify: { type: 'string' },
  prefix: { type: 'string' },
  queues: { type: 'string' },
  ...SCHEMES_OPTION,
} as const;

const OPTIONS = {
  ...QUEUE_OPTIONS,
  vhost: { type: 'string' },
  json: { type: 'boolean' },
  'delete-old': { type: 'boolean' },
  rabbitmq: { type: 'string' },
} as const;

/** The values of option `queues` of `DtxModule`. */
const TYPES: readonly SharedQueues[] = ['quorum', 'classic-to-quorum', 'classic'];

/**
 * Prints the queues of an app, for an administrator who declares them. It connects to a server only with `--delete-old`,
 * which deletes the queues of the other type that a migration has left.
 */
export const queuesCommand: Command = {
  usage: `queues --app <name> --contracts <module> ${SCHEMES_USAGE} [--queues ${TYPES.join('|')}] [--levels 5000,15000] [--notify <app>] [--prefix dtx] [--json [--vhost <name>]] [--delete-old --rabbitmq <amqp://...>]`,
  summary: 'prints the queues of an app, with --json as definitions for RabbitMQ; --delete-old deletes empty old ones',
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const options = queueOptionsFrom(values);
    if (values['delete-old']) {
      // RabbitMQ does not delete a quorum queue on the condition that it is empty.
      if ((options.queues ?? 'quorum') !== 'quorum')
        throw new UsageError('--delete-old: only for apps with quorum queues, and for their old classic queues');
      const url = urlFrom(values.rabbitmq, terminal, BROKER);
      return deleteEmptyQueues(url, leftoverQueuesOf(options), terminal);
    }
    const queues = queuesOf(options);
    if (values.json) terminal.say(JSON.stringify(queueDefinitions(queues, vhostOf(values.vhost, terminal)), null, 2));
    else for (const line of linesOf(answerQueuePatternOf(values.app!, values.prefix), queues)) terminal.say(line);
    return 0;
  },
};

interface QueueValues {
  readonly app?: string | undefined;
  readonly contracts?: string | undefined;
  readonly levels?: string | undefined;
  readonly notify?: string | undefined;
  readonly prefix?: string | undefined;
  readonly queues?: string | undefined;
  readonly schemes?: string | undefined;
}

/** The app that the options describe. @throws UsageError */
export function queueOptionsFrom({ app, contracts: path, levels, notify, ...values }: QueueValues): QueuesOptions {
  if (!app || !path) throw new UsageError(`missing --${app ? 'contracts' : 'app'}`);
  const exported = exportedValues(loadedModule('contracts', path));
  const contracts = exported.filter(isContract);
  const participants = exported.filter(isParticipant);
  const steps = exported.filter(isStepContract);
  if (contracts.length + participants.length + steps.length === 0)
    throw new UsageError(`--contracts ${path} exports no result of defineMessage, defineParticipant or defineStep`);
  const levelsMs = levels === undefined ? undefined : listOf(levels).map(Number);
  if (levelsMs?.some((ms) => !Number.isInteger(ms) || ms < 1))
    throw new UsageError('--levels: expected milliseconds, such as 5000,15000');
  return {
    app,
    contracts,
    participants,
    steps,
    levelsMs,
    notifyService: notify,
    queuePrefix: values.prefix,
    queues: typeFrom(values.queues),
    schemes: schemesFrom(values.schemes),
  };
}

function typeFrom(given: string | undefined): SharedQueues | undefined {
  const type = TYPES.find((one) => one === given);
  if (given !== undefined && !type) throw new UsageError(`--queues: expected ${TYPES.join(', ')}`);
  return type;
}

const fieldsOf = (value: unknown) =>
  (value !== null && typeof value === 'object' ? value : {}) as Record<string, unknown>;
const isNamed = ({ name, version }: Record<string, unknown>) => typeof name === 'string' && Number.isInteger(version);

function isContract(value: unknown): value is QueueContract {
  const fields = fieldsOf(value);
  return isNamed(fields) && 'schema' in fields && Array.isArray(fields.consumers);
}

function isParticipant(value: unknown): value is QueueParticipant {
  const fields = fieldsOf(value);
  return isNamed(fields) && 'args' in fields && !isStepContract(value);
}

/** The virtual host of `DTX_RABBITMQ_URL` by default. */
function vhostOf(given: string | undefined, { env }: Terminal): string {
  if (given !== undefined) return given;
  const urls = env[BROKER.variable];
  return urls ? readableUrl('RabbitMQ', () => parseBrokerUrls(urls))[0]!.path || '/' : '/';
}

function linesOf(answerQueues: string, queues: readonly DtxQueue[]): string[] {
  const nameWidth = Math.max(...queues.map(({ name }) => name.length));
  return [
    ...queues.map((queue) => {
      const given = Object.entries(queue.arguments).filter(([name]) => name !== 'x-queue-type');
      const rest = given.map(([name, value]) => `${name}=${value}`).join(' ');
      return `${queue.use.padEnd(8)} ${queue.name.padEnd(nameWidth)} durable ${queue.type} ${rest}`.trimEnd();
    }),
    `A TCC or saga initiator also needs the right configure on ${answerQueues}`,
  ];
}
