import { type Contract, queueOf, receiptQueueOf } from '../core/broker/message-contract.js';
import { argumentsOf, type QueueKind } from '../core/broker/queue-kinds.js';
import { QueueNames, type SharedQueues } from '../core/broker/queue-prefix.js';
import { halfMessageOptions } from '../half-message/options.js';
import { checkQueueOf, waitQueueOf } from '../half-message/prepared-message-queues.js';
import { halfReceiptQueueOf } from '../half-message/receipt-queue-name.js';
import { keyedReceiptQueueOf } from '../local-message/order/keyed-sender.js';
import { NOTIFY_QUEUE_KIND, notifyQueueOf } from '../notify/notification-message.js';
import { callQueueOf as stepQueueOf } from '../saga/call-messages.js';
import type { StepContract } from '../saga/step-contract.js';
import { callQueueOf, type Participant, secondQueueOf } from '../tcc/participant-contract.js';
import type { TableScheme } from './schema-components.js';

/** The contract of a message, as far as its queues are concerned. */
export type QueueContract = Pick<Contract, 'name' | 'version' | 'consumers' | 'replicated' | 'inOrderOf'>;
/** The contract of a TCC participant, as far as its queues are concerned. */
export type QueueParticipant = Pick<Participant, 'name' | 'version'>;

/** The contract of a saga step, as far as its queue is concerned. */
export type QueueStep = Pick<StepContract, 'name' | 'version'>;

/** The app whose queues `queuesOf` lists. */
export interface QueuesOptions {
  /** The name of the app, as in `DtxModule`. */
  readonly app: string;
  readonly contracts?: readonly QueueContract[];
  readonly participants?: readonly QueueParticipant[];
  /** The steps of its sagas, and those that it carries out for others. */
  readonly steps?: readonly QueueStep[];
  /** The schemes of the app. All by default. */
  readonly schemes?: readonly TableScheme[];
  /** Option `levelsMs` of half messages, in milliseconds. Each delay has a queue of its own. */
  readonly levelsMs?: readonly number[];
  /** Option `queuePrefix` of `DtxModule`. Default: `dtx`. */
  readonly queuePrefix?: string;
  /** Option `queues` of `DtxModule`. Default: `quorum`. */
  readonly queues?: SharedQueues;
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
 * queue of a TCC or saga initiator is missing, because each process has its own. It needs `configure` on
 * `answerQueuePatternOf(app)`.
 * @example
 *   const queues = queuesOf({ app: 'order', contracts: [orderPlaced], schemes: ['local-message'] });
 *   await writeFile('queues.json', JSON.stringify(queueDefinitions(queues, 'shop')));
 */
export function queuesOf(options: QueuesOptions): DtxQueue[] {
  const names = namesOf(options);
  const declared = usedBy(options).flatMap(({ name, use, kind }) =>
    names
      .consumed(name, kind)
      .filter(({ isOptional }) => !isOptional)
      .map((one) => asDeclared(names.onWire(one.queue, one.kind), use, names.kindOnWire(one.kind))),
  );
  return [...new Map(declared.map((queue) => [queue.name, queue])).values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The names of the queues of the other type that this app consumes while they exist. After a migration to quorum queues
 * these are its old classic queues.
 */
export function leftoverQueuesOf(options: QueuesOptions): string[] {
  const names = namesOf(options);
  const optional = usedBy(options)
    .filter(({ use }) => use === 'consumes')
    .flatMap(({ name, kind }) => names.consumed(name, kind).filter(({ isOptional }) => isOptional));
  return [...new Set(optional.map(({ queue, kind }) => names.onWire(queue, kind)))].sort();
}

const namesOf = ({ queuePrefix, queues }: QueuesOptions) => new QueueNames(queuePrefix, queues);

/** A queue by its name in the code. */
interface Used {
  readonly name: string;
  readonly use: DtxQueue['use'];
  readonly kind: QueueKind;
}

function usedBy(options: QueuesOptions): Used[] {
  const { app, contracts = [], participants = [], steps = [], schemes, notifyService, levelsMs } = options;
  const uses = (scheme: TableScheme) => schemes?.includes(scheme) ?? true;
  const kindOf = ({ replicated }: QueueContract): QueueKind => (replicated ? 'replicated' : 'work');
  const notifying = notifyService !== undefined && uses('notify');
  return [
    ...contracts.flatMap((contract) =>
      contract.consumers.map((consumer) => ({
        name: queueOf(consumer, contract.version),
        use: useBy(app, consumer),
        kind: kindOf(contract),
      })),
    ),
    ...(uses('local-message') ? [consumedBy(receiptQueueOf(app))] : []),
    ...(uses('local-message') && contracts.some(({ inOrderOf }) => inOrderOf)
      ? [consumedBy(keyedReceiptQueueOf(app))]
      : []),
    ...(uses('half-message') ? halfQueues(app, levelsMs) : []),
    ...(uses('tcc') ? participants.flatMap((one) => callQueues(app, one)) : []),
    ...(uses('saga') ? steps.map((one) => stepQueue(app, one)) : []),
    ...(notifying ? [notifyQueue(app, notifyService)] : []),
  ];
}

/**
 * The pattern of the exclusive answer queues of a TCC or saga initiator, for the rights `configure` and `read`.
 * @example
 *   answerQueuePatternOf('order'); // '^dtx\\.order\\.(tcc|saga)-answers\\.'
 */
export function answerQueuePatternOf(app: string, queuePrefix = 'dtx'): string {
  return `^${queuePrefix}\\.${app}\\.(tcc|saga)-answers\\.`;
}

const consumedBy = (name: string, kind: QueueKind = 'work'): Used => ({ name, use: 'consumes', kind });

function halfQueues(app: string, levelsMs: readonly number[] = halfMessageOptions.parse({}).levelsMs): Used[] {
  const waiting = [...new Set(levelsMs)].map((ttlMs) => waitQueueOf(app, ttlMs));
  return [
    consumedBy(halfReceiptQueueOf(app)),
    consumedBy(checkQueueOf(app), 'replicated'),
    ...waiting.map(({ queue, kind }): Used => ({ name: queue, use: 'waits', kind })),
  ];
}

function callQueues(app: string, participant: QueueParticipant): Used[] {
  const use = useBy(app, participant.name);
  return [callQueueOf(participant), secondQueueOf(participant)].map((name) => ({ name, use, kind: 'work' }));
}

function stepQueue(app: string, step: QueueStep): Used {
  return { name: stepQueueOf(step), use: useBy(app, step.name), kind: 'work' };
}

function notifyQueue(app: string, service: string): Used {
  return { name: notifyQueueOf(service), use: service === app ? 'consumes' : 'sends', kind: NOTIFY_QUEUE_KIND };
}

const useBy = (app: string, name: string): DtxQueue['use'] => (name.startsWith(`${app}.`) ? 'consumes' : 'sends');

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
