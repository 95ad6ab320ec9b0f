import { type Contract, queueOf, receiptQueueOf } from '../core/broker/message-contract.js';
import { argumentsOf, type QueueKind } from '../core/broker/queue-kinds.js';
import { QueueNames } from '../core/broker/queue-prefix.js';
import { halfMessageOptions } from '../half-message/options.js';
import { checkQueueOf, waitQueueOf } from '../half-message/prepared-message-queues.js';
import { halfReceiptQueueOf } from '../half-message/receipt-queue-name.js';
import { NOTIFY_QUEUE_KIND, notifyQueueOf } from '../notify/notification-message.js';
import { callQueueOf, type Participant, secondQueueOf } from '../tcc/participant-contract.js';
import type { TableScheme } from './schema-components.js';

/** The contract of a message, as far as its queues are concerned. */
export type QueueContract = Pick<Contract, 'name' | 'version' | 'consumers' | 'replicated'>;
/** The contract of a TCC participant, as far as its queues are concerned. */
export type QueueParticipant = Pick<Participant, 'name' | 'version'>;

/** The app whose queues `queuesOf` lists. */
export interface QueuesOptions {
  /** The name of the app, as in `DtxModule`. */
  readonly app: string;
  readonly contracts?: readonly QueueContract[];
  readonly participants?: readonly QueueParticipant[];
  /** The schemes of the app. All by default. */
  readonly schemes?: readonly TableScheme[];
  /** Option `levelsMs` of half messages, in milliseconds. Each delay has a queue of its own. */
  readonly levelsMs?: readonly number[];
  /** Option `queuePrefix` of `DtxModule`. Default: `dtx`. */
  readonly queuePrefix?: string;
  /** The notification service that the app publishes to, or is. */
  readonly notifyService?: string;
}

/** One queue as it is declared. */
export interface DtxQueue {
  readonly name: string;
  /** `consumes`: queue of this app. `sends`: the app may publish there, as a contract names it. */
  readonly use: 'consumes' | 'sends' | 'waits';
  readonly type: 'classic' | 'quorum';
  readonly durable: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/**
 * The durable queues of an app, for an administrator who declares them. An account without the right `configure` uses
 * queues as they are. Both sides of a contract declare its queues, so those of all given contracts are listed. The answer
 * queue of a TCC initiator is missing, because each process has its own. It needs `configure` on
 * `answerQueuePatternOf(app)`.
 * @example
 *   const queues = queuesOf({ app: 'order', contracts: [orderPlaced], schemes: ['local-message'] });
 *   await writeFile('queues.json', JSON.stringify(queueDefinitions(queues, 'shop')));
 */
export function queuesOf(options: QueuesOptions): DtxQueue[] {
  const { app, contracts = [], participants = [], schemes, notifyService } = options;
  const names = new QueueNames(options.queuePrefix);
  const described = (name: string, use: DtxQueue['use'], kind: QueueKind = 'work') =>
    asDeclared(names.onWire(name), use, names.kindOnWire(kind));
  const uses = (scheme: TableScheme) => schemes?.includes(scheme) ?? true;
  const found: DtxQueue[] = [
    ...contracts.flatMap(({ consumers, version, replicated }) =>
      consumers.map((consumer) =>
        described(queueOf(consumer, version), useBy(app, consumer), replicated ? 'replicated' : 'work'),
      ),
    ),
    ...(uses('local-message') ? [described(receiptQueueOf(app), 'consumes')] : []),
    ...(uses('half-message') ? halfQueues(app, described, options.levelsMs) : []),
    ...(uses('tcc') ? participants.flatMap((one) => callQueues(app, one, described)) : []),
  ];
  if (notifyService !== undefined && uses('notify')) {
    const use = notifyService === app ? 'consumes' : 'sends';
    found.push(described(notifyQueueOf(notifyService), use, NOTIFY_QUEUE_KIND));
  }
  return [...new Map(found.map((queue) => [queue.name, queue])).values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The pattern of the exclusive answer queues of a TCC initiator, for the rights `configure` and `read`.
 * @example
 *   answerQueuePatternOf('order'); // '^dtx\\.order\\.tcc-answers\\.'
 */
export function answerQueuePatternOf(app: string, queuePrefix = 'dtx'): string {
  return `^${queuePrefix}\\.${app}\\.tcc-answers\\.`;
}

type Describe = (name: string, use: DtxQueue['use'], kind?: QueueKind) => DtxQueue;

function halfQueues(
  app: string,
  described: Describe,
  levelsMs: readonly number[] = halfMessageOptions.parse({}).levelsMs,
): DtxQueue[] {
  const waiting = [...new Set(levelsMs)].map((ttlMs) => waitQueueOf(app, ttlMs));
  return [
    described(halfReceiptQueueOf(app), 'consumes'),
    described(checkQueueOf(app), 'consumes', 'replicated'),
    ...waiting.map(({ queue, kind }) => described(queue, 'waits', kind)),
  ];
}

function callQueues(app: string, participant: QueueParticipant, described: Describe): DtxQueue[] {
  const use = useBy(app, participant.name);
  return [described(callQueueOf(participant), use), described(secondQueueOf(participant), use)];
}

const useBy = (app: string, name: string) => (name.startsWith(`${app}.`) ? 'consumes' : 'sends');

function asDeclared(name: string, use: DtxQueue['use'], kind: QueueKind): DtxQueue {
  const { durable = false, arguments: given = {} } = argumentsOf(name, kind);
  return { name, use, type: given['x-queue-type'] === 'quorum' ? 'quorum' : 'classic', durable, arguments: given };
}

/**
 * The queues in the format that RabbitMQ imports (`rabbitmqctl import_definitions`, `POST /api/definitions`).
 * @example
 *   await writeFile('queues.json', JSON.stringify(queueDefinitions(queuesOf({ app: 'order' }), 'shop')));
 */
export function queueDefinitions(queues: readonly DtxQueue[], vhost: string): { queues: object[] } {
  return {
    queues: queues.map((queue) => ({
      name: queue.name,
      vhost,
      durable: queue.durable,
      auto_delete: false,
      arguments: queue.arguments,
    })),
  };
}
