import { BrokerUnavailable, DtxError } from '../errors/errors.js';
import { isProcessQueue } from './queue-kinds.js';

/**
 * The broker permanently rejects a queue. The account lacks a right, the queue is missing, or it exists with other
 * arguments. An operator must correct that. Counts as an attempt, unlike `BrokerUnavailable`.
 * @example
 *   if (error instanceof QueueRefused) logger.error(`${error.queue} (${error.code}): ${error.message}`);
 */
export class QueueRefused extends DtxError {
  constructor(
    readonly queue: string,
    /** The AMQP reply code: 403, 404, 405, 406 or 540. */
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** A permission of the broker. */
export type Right = 'configure' | 'read' | 'write';

export const ACCESS_REFUSED = 403;
export const NOT_FOUND = 404;
const RESOURCE_LOCKED = 405;
export const PRECONDITION_FAILED = 406;
const NOT_IMPLEMENTED = 540;

const WHY: Record<number, string> = {
  [NOT_FOUND]: 'the queue does not exist',
  [RESOURCE_LOCKED]: 'another connection holds it exclusively',
  [PRECONDITION_FAILED]: 'it exists with other arguments',
  [NOT_IMPLEMENTED]: 'this broker lacks a required feature',
};

/** RabbitMQ also answers 404 for a durable queue on a stopped node. The queue returns with its node. */
const NODE_DOWN = /down or inaccessible/;

/** One step on a queue, as an error names it. */
export interface Asked {
  /** The beginning of the error, such as `cannot declare queue dtx.billing.send-invoice.v1`. */
  readonly what: string;
  readonly queue: string;
  /** The permission that the step needs. */
  readonly right: Right;
  /** The exchange of a publish, if it is not the default one. */
  readonly exchange?: string;
}

/** Maps an error of amqplib to QueueRefused, or to BrokerUnavailable for any temporary reason. */
export function meaningOf(error: unknown, { what, queue, right, exchange }: Asked): DtxError {
  if (error instanceof DtxError) return error;
  const { code, message } = error as { code?: unknown; message?: string };
  const said = `${what}: ${message ?? String(error)}`;
  if (code === ACCESS_REFUSED)
    return new QueueRefused(queue, code, `${what}: ${lacks(queue, right, exchange)}: ${message}`);
  if (typeof code !== 'number' || !(code in WHY)) return new BrokerUnavailable(said);
  if (code === NOT_FOUND && NODE_DOWN.test(message ?? '')) return new BrokerUnavailable(said);
  return new QueueRefused(queue, code, `${what}: ${WHY[code]}: ${message}`);
}

function lacks(queue: string, right: Right, exchange?: string): string {
  if (right === 'write') return `the account lacks the right "write" on exchange ${exchange || 'amq.default'}`;
  const missing = `the account lacks the right "${right}" on ${queue}`;
  // The name is different in every process, so only a pattern can grant the permission.
  return isProcessQueue(queue) ? `${missing} (grant it on ^${queue.slice(0, -36).replaceAll('.', '\\.')})` : missing;
}
