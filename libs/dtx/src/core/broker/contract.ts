import type { z } from 'zod';
import { OptionsError } from '../errors/errors.js';

/**
 * What sender and receivers agree on. A breaking change is a new `version` beside the old one, never a changed schema.
 * `consumers` names everyone who must have handled a message before it is done, as `<app>.<consumer>`.
 */
export interface Contract<Payload = unknown> {
  readonly name: string;
  readonly version: number;
  /**
   * Applied at the sender and once more at the receiver, to the JSON: it must leave its own result as it is. A sender is
   * refused what would arrive as another value.
   */
  readonly schema: z.ZodType<Payload>;
  readonly consumers: readonly string[];
  /** The global transaction that a message belongs to. */
  readonly gid: (payload: Payload) => string;
  /**
   * Its consumers' queues are quorum queues: for messages that no row at the sender would send again. Changing it needs
   * a new version, since a queue cannot be declared again as another kind.
   */
  readonly replicated?: boolean | undefined;
}

/** The payload type of a contract. */
export type MessageOf<C> = C extends Contract<infer Payload> ? Payload : never;

/** Names, behind the app's, of consumers that would share a queue with the library itself. */
const reserved: RegExp[] = [/^receipts$/];

/** Keeps names of consumers for queues of a scheme. The pattern sees the name behind the app's. */
export function reserveConsumers(pattern: RegExp): void {
  reserved.push(pattern);
}

/** Which contract each consumer's queue belongs to, for all contracts of this process. */
const contractOfQueue = new Map<string, string>();

const NAME = /^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+$/;
/** As long as its columns, and short enough for what a receiver takes as a type. */
const NAME_CHARS_MAX = 100;
/** All of them stand in one column, with commas around them. */
const CONSUMERS_CHARS_MAX = 998;

/**
 * Declares a message contract, shared by both sides; both declare the queues from it, so start order does not matter.
 * @throws OptionsError when a name is malformed, or a consumer is named twice, belongs to another contract or shares a
 *   queue with the library
 */
export function defineMessage<S extends z.ZodType>(contract: {
  name: string;
  version: number;
  schema: S;
  consumers: readonly string[];
  gid: (payload: z.output<S>) => string;
  replicated?: boolean;
}): Contract<z.output<S>> {
  const about = `message contract ${contract.name}`;
  if (!NAME.test(contract.name)) throw new OptionsError(`${about}: a name is like invoice.issued`);
  if (contract.name.length > NAME_CHARS_MAX)
    throw new OptionsError(`${about}: a name has at most ${NAME_CHARS_MAX} characters`);
  if (!Number.isInteger(contract.version) || contract.version < 1)
    throw new OptionsError(`${about}: version is 1, 2, ...`);
  if (contract.consumers.length === 0)
    throw new OptionsError(`${about}: name at least one consumer, as <app>.<consumer>`);
  if (new Set(contract.consumers).size !== contract.consumers.length)
    throw new OptionsError(`${about}: a consumer is named twice`);
  for (const consumer of contract.consumers) {
    if (!/^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/.test(consumer)) {
      throw new OptionsError(`${about}: consumer ${consumer} is not <app>.<consumer>`);
    }
    const name = consumer.slice(consumer.indexOf('.') + 1);
    if (reserved.some((pattern) => pattern.test(name)))
      throw new OptionsError(`${about}: consumer ${consumer} has the queue of the library itself: choose another name`);
  }
  if (contract.consumers.join(',').length > CONSUMERS_CHARS_MAX)
    throw new OptionsError(`${about}: the names of its consumers have more than ${CONSUMERS_CHARS_MAX} characters`);
  takeQueues(contract);
  return Object.freeze({ ...contract, consumers: Object.freeze([...contract.consumers]) }) as Contract<z.output<S>>;
}

/**
 * A queue carries the messages of one contract: a consumer parks those of another. The same contract may be defined
 * again, by a second copy of its module.
 */
function takeQueues({ name, version, consumers }: Pick<Contract, 'name' | 'version' | 'consumers'>): void {
  for (const consumer of consumers) {
    const owner = contractOfQueue.get(queueOf(consumer, version)) ?? name;
    if (owner !== name)
      throw new OptionsError(`message contract ${name}: consumer ${consumer} v${version} belongs to ${owner}`);
  }
  for (const consumer of consumers) contractOfQueue.set(queueOf(consumer, version), name);
}

/** The queue of one consumer of one contract. */
export function queueOf(consumer: string, version: number): string {
  return `dtx.${consumer}.v${version}`;
}

/** Where receipts for the messages of an app go. */
export function receiptQueueOf(app: string): string {
  return `dtx.${app}.receipts.v1`;
}
