import { BrokerUnavailable, DtxError } from '../errors/errors.js';
import { isProcessQueue } from './topology.js';

/**
 * The broker refuses a queue for a reason that does not pass by itself: a right of the account is missing, or the queue, or
 * it is there with other arguments. A person must change that. It counts as an attempt, unlike `BrokerUnavailable`.
 */
export class QueueRefused extends DtxError {
  constructor(
    readonly queue: string,
    /** As AMQP numbers it: 403, 404, 405, 406 or 540. */
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** What the account is asked for, by the name that the broker's permissions have. */
export type Right = 'configure' | 'read' | 'write';

export const ACCESS_REFUSED = 403;
export const NOT_FOUND = 404;
const RESOURCE_LOCKED = 405;
export const PRECONDITION_FAILED = 406;
const NOT_IMPLEMENTED = 540;

const WHY: Record<number, string> = {
  [NOT_FOUND]: 'there is no such queue',
  [RESOURCE_LOCKED]: 'another connection has it to itself',
  [PRECONDITION_FAILED]: 'it exists with other arguments',
  [NOT_IMPLEMENTED]: 'this broker lacks a feature that it needs',
};

/** A durable queue whose node is down is "not found" as well. It comes back with its node. */
const NODE_DOWN = /down or inaccessible/;

/** One step with a queue, as an error names it. */
export interface Asked {
  /** Like `cannot declare queue dtx.billing.send-invoice.v1`. */
  readonly what: string;
  readonly queue: string;
  /** The right that the step needs. */
  readonly right: Right;
}

/** What an error of the client library means: QueueRefused, or BrokerUnavailable for all that may pass by itself. */
export function meaningOf(error: unknown, { what, queue, right }: Asked): DtxError {
  if (error instanceof DtxError) return error;
  const { code, message } = error as { code?: unknown; message?: string };
  const said = `${what}: ${message ?? String(error)}`;
  if (code === ACCESS_REFUSED) return new QueueRefused(queue, code, `${what}: ${lacks(queue, right)}: ${message}`);
  if (typeof code !== 'number' || !(code in WHY)) return new BrokerUnavailable(said);
  if (code === NOT_FOUND && NODE_DOWN.test(message ?? '')) return new BrokerUnavailable(said);
  return new QueueRefused(queue, code, `${what}: ${WHY[code]}: ${message}`);
}

function lacks(queue: string, right: Right): string {
  if (right === 'write') return 'the account lacks the right "write" on exchange amq.default';
  const missing = `the account lacks the right "${right}" on ${queue}`;
  // The name is new in every process: only a pattern can grant it.
  return isProcessQueue(queue) ? `${missing} (grant it on ^${queue.slice(0, -36).replaceAll('.', '\\.')})` : missing;
}
