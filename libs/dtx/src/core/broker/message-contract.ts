import { OptionsError } from '../errors/errors.js';
import { type MessageOrder, takeStream } from './ordered-messages.js';
import type { ExchangeRoute } from './publish-target.js';
import { mustBeSchema, type OutputOf, type StandardSchema } from './schema.js';

/**
 * The contract between the sender and the consumers of a message. A breaking change is a new `version` beside the old
 * one, never a changed schema. `consumers` lists every consumer that must handle a message, as `<app>.<consumer>`.
 */
export interface Contract<Payload = unknown> {
  readonly name: string;
  readonly version: number;
  /**
   * The schema of the payload, of any library with Standard Schema v1. Sender and receiver apply it, the receiver to the
   * JSON. It must leave its own result unchanged. The sender rejects a payload that would arrive as another value.
   */
  readonly schema: StandardSchema<unknown, Payload>;
  readonly consumers: readonly string[];
  /** Returns the gid of the global transaction of a message. */
  readonly gid: (payload: Payload) => string;
  /**
   * Declares the queues of the consumers as quorum queues. For messages that no row at the sender would send again. A
   * change needs a new version, because RabbitMQ rejects a declaration with another queue type.
   */
  readonly replicated?: boolean | undefined;
  /**
   * False for consumers that are other programs and send no receipts. The message is delivered at least once to its
   * queues or its exchange, and no further: the row at the sender is done with the publisher confirm. A message that such
   * a program loses is not sent again. Set `replicated` too, unless the queues may be lost with their node.
   */
  readonly receipts?: boolean | undefined;
  /**
   * An existing exchange instead of queues of consumers. Needs `receipts: false`. A message that the exchange leads to no
   * queue is retried, and parked with one alert when the attempts are used up.
   */
  readonly publishTo?: ExchangeRoute | undefined;
  /**
   * Keeps the messages of one key in order. Needs receipts and a row at the sender, so neither `receipts: false` nor
   * `replicated`. Without it the order is not guaranteed.
   */
  readonly inOrderOf?: MessageOrder<Payload> | undefined;
}

/** The destination of the messages of a contract. */
type Destination =
  | { consumers: readonly string[]; replicated?: boolean; receipts?: boolean; publishTo?: undefined }
  | { publishTo: ExchangeRoute; receipts: false; consumers?: undefined; replicated?: undefined };

/** The payload type of a contract. */
export type MessageOf<C> = C extends Contract<infer Payload> ? Payload : never;

/** Reserved consumer names, without the app. Such a consumer would share a queue with the library. */
const reserved: RegExp[] = [/^receipts$/];

/** Reserves consumer names for the queues of a scheme. The pattern matches the name without the app. */
export function reserveConsumers(pattern: RegExp): void {
  reserved.push(pattern);
}

/** The contract of each consumer queue in this process. */
const contractOfQueue = new Map<string, string>();

/** The consumer queues of the replicated contracts in this process. */
const replicated = new Set<string>();

/** The queues of all contracts in this process that must be quorum queues. */
export function replicatedQueues(): string[] {
  return [...replicated];
}

const NAME = /^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+$/;
/** The length of the database columns, and within the limit for the AMQP type at the receiver. */
const NAME_CHARS_MAX = 100;
/** The length of the column with all consumers, less the enclosing commas. */
const CONSUMERS_CHARS_MAX = 998;

/**
 * Declares a message contract that sender and consumers share. Both declare the queues from it, so their start order
 * does not matter.
 * @throws OptionsError if a name is malformed, if `schema` has no Standard Schema interface or is asynchronous, if a
 *   consumer is listed twice, belongs to another contract or shares a queue with the library, or if `inOrderOf` is
 *   invalid, has no receipts, or contradicts another contract of its stream
 * @example
 *   export const invoiceIssued = defineMessage({
 *     name: 'invoice.issued', version: 1, schema: z.object({ invoiceId: z.string() }),
 *     gid: ({ invoiceId }) => invoiceId, consumers: ['mail.send-invoice'],
 *   });
 */
export function defineMessage<S extends StandardSchema>(
  contract: {
    name: string;
    version: number;
    schema: S;
    gid: (payload: OutputOf<S>) => string;
    inOrderOf?: MessageOrder<OutputOf<S>> | undefined;
  } & Destination,
): Contract<OutputOf<S>> {
  const about = `message contract ${contract.name}`;
  if (!NAME.test(contract.name)) throw new OptionsError(`${about}: expected a name like invoice.issued`);
  if (contract.name.length > NAME_CHARS_MAX)
    throw new OptionsError(`${about}: a name has at most ${NAME_CHARS_MAX} characters`);
  if (!Number.isInteger(contract.version) || contract.version < 1)
    throw new OptionsError(`${about}: expected a version of 1, 2, ..., got ${contract.version}`);
  mustBeSchema(contract.schema, `${about}: schema`);
  if (typeof contract.gid !== 'function') throw new OptionsError(`${about}: gid must be a function of the payload`);
  const consumers: readonly string[] = contract.publishTo ? [] : contract.consumers;
  if (contract.publishTo) mustBeRoute(contract, about);
  else mustBeConsumers(consumers, about);
  takeStream(contract, about);
  takeQueues({ ...contract, consumers });
  if (contract.replicated) for (const consumer of consumers) replicated.add(queueOf(consumer, contract.version));
  return Object.freeze({ ...contract, consumers: Object.freeze([...consumers]) }) as Contract<OutputOf<S>>;
}

const SHORT_TEXT_BYTES_MAX = 255;

function mustBeRoute({ publishTo, ...contract }: Partial<Contract>, about: string): void {
  const { exchange, routingKey } = publishTo!;
  const isShort = (text: unknown) => typeof text === 'string' && Buffer.byteLength(text) <= SHORT_TEXT_BYTES_MAX;
  if (!isShort(exchange) || !isShort(routingKey))
    throw new OptionsError(`${about}: publishTo needs exchange and routingKey, texts of at most 255 bytes`);
  if (contract.consumers !== undefined || contract.replicated !== undefined)
    throw new OptionsError(`${about}: publishTo has no queues of this library; remove consumers and replicated`);
  if (contract.receipts !== false)
    throw new OptionsError(`${about}: publishTo needs receipts: false, since no consumer sends a receipt`);
}

function mustBeConsumers(consumers: readonly string[], about: string): void {
  if (consumers.length === 0) throw new OptionsError(`${about}: no consumers; list at least one as <app>.<consumer>`);
  if (new Set(consumers).size !== consumers.length) throw new OptionsError(`${about}: a consumer is listed twice`);
  for (const consumer of consumers) {
    if (!/^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/.test(consumer)) {
      throw new OptionsError(`${about}: consumer ${consumer} is not <app>.<consumer>`);
    }
    const name = consumer.slice(consumer.indexOf('.') + 1);
    if (reserved.some((pattern) => pattern.test(name)))
      throw new OptionsError(
        `${about}: consumer ${consumer} would share a queue with the library; choose another name`,
      );
  }
  if (consumers.join(',').length > CONSUMERS_CHARS_MAX)
    throw new OptionsError(`${about}: the consumer names together have more than ${CONSUMERS_CHARS_MAX} characters`);
}

/**
 * Reserves the queues of a contract. A queue carries the messages of one contract, because a consumer parks those of
 * another. A second copy of a module may define the same contract again.
 */
function takeQueues({ name, version, consumers }: Pick<Contract, 'name' | 'version' | 'consumers'>): void {
  for (const consumer of consumers) {
    const owner = contractOfQueue.get(queueOf(consumer, version)) ?? name;
    if (owner !== name)
      throw new OptionsError(
        `message contract ${name}: consumer ${consumer} v${version} belongs to the contract ${owner}; give each contract ` +
          'a consumer name of its own',
      );
  }
  for (const consumer of consumers) contractOfQueue.set(queueOf(consumer, version), name);
}

/**
 * The queue of one consumer of one contract version.
 * @example
 *   queueOf('mail.send-invoice', 1); // 'dtx.mail.send-invoice.v1'
 */
export function queueOf(consumer: string, version: number): string {
  return `dtx.${consumer}.v${version}`;
}

/**
 * The queue of an app for receipts.
 * @example
 *   receiptQueueOf('billing'); // 'dtx.billing.receipts.v1'
 */
export function receiptQueueOf(app: string): string {
  return `dtx.${app}.receipts.v1`;
}
