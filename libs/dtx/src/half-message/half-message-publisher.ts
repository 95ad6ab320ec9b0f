// For steps 1, 3 and 4: what goes to the broker. A prepared message waits there while its local transaction runs, and
// then expires into the check queue. The broker holds the only copy until a verdict exists. If the process dies before
// the confirm of `wait`, no local transaction has begun. If it dies within `deliver`, some consumers have the message,
// and the sweeper or the check sends it to all of them again under the same id.
import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { Broker } from '../core/broker/broker.service.js';
import { typeOf } from '../core/broker/envelope.js';
import { queueOf } from '../core/broker/message-contract.js';
import type { WaitingQueue } from '../core/broker/queue-kinds.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { SCHEME } from './failpoints.js';
import type { HalfMessage } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { checkQueueOf, waitQueueOf } from './prepared-message-queues.js';
import { halfReceiptQueueOf } from './receipt-queue-name.js';

const PREPARED_TYPE = 'dtx.half-copy.v1';

/** Content of a prepared message. Others may write to the queue, so it is validated at every check. */
export const halfMessage = z.object({
  id: z.string().regex(/^[0-9a-f-]{36}$/),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  contract: z.string().regex(/^[a-z][a-z0-9.-]{0,99}$/),
  version: z.int().min(1),
  payload: z.string(),
  consumers: z.string().regex(/^[a-z0-9.,-]{1,1000}$/),
  traceparent: z
    .string()
    .regex(/^[0-9a-f-]{55}$/)
    .nullable(),
});

/** `checks` counts the checks without a verdict. RabbitMQ 4 does not increment `x-death` for republished messages. */
const preparedBody = z.object({ checks: z.int().min(0).max(1_000), message: halfMessage });
export type PreparedMessage = z.output<typeof preparedBody>;

/** The prepared message in the content of a delivery, or null if the content is invalid. */
export function parsePrepared(content: Buffer): PreparedMessage | null {
  try {
    return preparedBody.parse(JSON.parse(content.toString('utf8')));
  } catch {
    return null;
  }
}

/** The queues of the consumers of a message. */
export function queuesOf({ consumers, version }: Pick<HalfMessage, 'consumers' | 'version'>): string[] {
  return consumers
    .split(',')
    .filter(Boolean)
    .map((consumer) => queueOf(consumer, version));
}

/** Publishes prepared messages to a waiting queue for each check delay, and the message itself to its consumers. */
@Injectable()
export class PreparedMessages {
  /** The queue of expired prepared messages. One per app, so any instance may check any of them. */
  readonly checkQueue: string;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.checkQueue = checkQueueOf(core.app);
  }

  /** Checks without a verdict before a prepared message is parked. */
  get checksMax(): number {
    return this.options.levelsMs.length;
  }

  /**
   * Publishes a prepared message to the waiting queue of its next check, with a publisher confirm.
   * @throws BrokerUnavailable or Unconfirmed without a confirm
   */
  async wait(prepared: PreparedMessage): Promise<void> {
    const { publisher } = this.broker;
    // The check queue must exist before a prepared message can expire.
    await publisher.ensure(this.checkQueue, 'replicated');
    const { queue, kind } = this.waitQueueOf(prepared.checks);
    const envelope = { messageId: prepared.message.id, type: PREPARED_TYPE, gid: prepared.message.gid, scheme: SCHEME };
    await publisher.publish(queue, Buffer.from(JSON.stringify(prepared)), envelope, { kind });
  }

  /**
   * Publishes the message itself to every consumer, with publisher confirms. The id is the same each time, so inboxes
   * recognise duplicates.
   * @param madeAtMs time of the verdict, in milliseconds since the epoch by the database clock
   */
  async deliver(message: HalfMessage, madeAtMs: number): Promise<void> {
    const envelope = {
      messageId: message.id,
      type: typeOf({ name: message.contract, version: message.version }),
      gid: message.gid,
      scheme: SCHEME,
      replyTo: halfReceiptQueueOf(this.core.app),
      traceparent: message.traceparent ?? undefined,
      madeAtMs,
    };
    const queues = queuesOf(message);
    const body = Buffer.from(message.payload);
    const publish = (queue: string) => this.broker.publisher.publish(queue, body, envelope, { kind: 'replicated' });
    await Promise.all(queues.map(publish));
  }

  /** Declares every queue of prepared messages. @throws QueueRefused or BrokerUnavailable */
  async declare(): Promise<void> {
    await this.broker.publisher.inspect(this.checkQueue, 'replicated');
    for (const checks of this.options.levelsMs.keys()) {
      const { queue, kind } = this.waitQueueOf(checks);
      await this.broker.publisher.inspect(queue, kind);
    }
  }

  private waitQueueOf(checks: number): { queue: string; kind: WaitingQueue } {
    return waitQueueOf(this.core.app, this.options.levelsMs[checks]!);
  }
}
