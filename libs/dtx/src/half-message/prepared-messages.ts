import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { Broker } from '../core/broker/broker.service.js';
import { queueOf } from '../core/broker/contract.js';
import { typeOf } from '../core/broker/envelope.js';
import type { WaitingQueue } from '../core/broker/topology.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { SCHEME } from './failpoints.js';
import type { HalfMessage } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { halfReceiptQueueOf } from './queues.js';

const COPY_TYPE = 'dtx.half-copy.v1';

/** What a prepared copy carries. Anyone may write to a queue: it is checked when it comes back. */
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

/** `checks`: how often it was found undecided. A counter of our own: `x-death` stopped growing for clients in RabbitMQ 4. */
const copyBody = z.object({ checks: z.int().min(0).max(1_000), message: halfMessage });
export type Copy = z.output<typeof copyBody>;

/** A copy as it came back, or null for what is none. */
export function readCopy(content: Buffer): Copy | null {
  try {
    return copyBody.parse(JSON.parse(content.toString('utf8')));
  } catch {
    return null;
  }
}

/** What half messages put into the broker: waiting copies, a queue per level, and in the end the message itself. */
@Injectable()
export class Copies {
  /** Where copies go whose time has ended. One per app: any instance may check any copy. */
  readonly checkQueue: string;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.checkQueue = `dtx.${core.app}.half-check.v1`;
  }

  /** How often a copy may be found undecided before it is parked. */
  get checksMax(): number {
    return this.options.levelsMs.length;
  }

  /** Puts a copy into the level of its next check, with confirm. @throws BrokerUnavailable when it is not known to be there */
  async wait(copy: Copy): Promise<void> {
    const { publisher } = this.broker;
    // Where expired copies go must be there before any can expire.
    await publisher.ensure(this.checkQueue, 'replicated');
    const { queue, kind } = this.level(copy.checks);
    const envelope = { messageId: copy.message.id, type: COPY_TYPE, gid: copy.message.gid, scheme: SCHEME };
    await publisher.publish(queue, Buffer.from(JSON.stringify(copy)), envelope, { kind });
  }

  /**
   * Publishes the message itself to every consumer, with confirm. The same id each time, so that their inboxes know it.
   * @param madeAtMs when its verdict was written, in milliseconds since the epoch by the database's clock
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
    const queues = message.consumers.split(',').map((consumer) => queueOf(consumer, message.version));
    const body = Buffer.from(message.payload);
    const publish = (queue: string) => this.broker.publisher.publish(queue, body, envelope, { kind: 'replicated' });
    await Promise.all(queues.map(publish));
  }

  /** Declares everything that copies need. @throws QueueRefused where the broker cannot do it; BrokerUnavailable */
  async declare(): Promise<void> {
    await this.broker.publisher.inspect(this.checkQueue, 'replicated');
    for (const checks of this.options.levelsMs.keys()) {
      const { queue, kind } = this.level(checks);
      await this.broker.publisher.inspect(queue, kind);
    }
  }

  private level(checks: number): { queue: string; kind: WaitingQueue } {
    const ttlMs = this.options.levelsMs[checks]!;
    return { queue: `dtx.${this.core.app}.half-wait.${ttlMs}ms.v1`, kind: { ttlMs, expiredTo: this.checkQueue } };
  }
}
