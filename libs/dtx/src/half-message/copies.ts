import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { Broker } from '../core/broker/broker.service.js';
import { queueOf } from '../core/broker/contract.js';
import { typeOf } from '../core/broker/envelope.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { SCHEME } from './failpoints.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import type { HalfMessage } from './schema.js';

const COPY_TYPE = 'dtx.half-copy.v1';

/** A prepared copy: the message, and how often it was checked. A counter of our own, since `x-death` stopped growing in RabbitMQ 4. */
export const copyBody = z.object({
  checks: z.int().min(0).max(1_000),
  message: z.object({
    id: z.string().regex(/^[0-9a-f-]{36}$/),
    gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
    contract: z.string().max(100),
    version: z.int(),
    payload: z.string(),
    consumers: z.string().max(1_000),
    traceparent: z.string().max(55).nullable(),
  }),
});
export type Copy = z.output<typeof copyBody>;

/** What half messages put into the broker: waiting copies, one queue per level, and in the end the message itself. */
@Injectable()
export class Copies {
  readonly checkQueue: string;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.checkQueue = `dtx.${core.app}.half-check.v1`;
  }

  /** How often a copy may be found undecided. */
  get checksMax(): number {
    return this.options.levelsMs.length;
  }

  /** Puts a copy into the level of its next check, with confirm. @throws BrokerUnavailable when it is not known to be there */
  async wait(copy: Copy): Promise<void> {
    const ttlMs = this.options.levelsMs[copy.checks]!;
    // The queue that expired copies go to must be there before any can expire.
    await this.broker.publisher.ensure(this.checkQueue, 'replicated');
    const queue = `dtx.${this.core.app}.half-wait.${ttlMs}ms.v1`;
    const envelope = { messageId: copy.message.id, type: COPY_TYPE, gid: copy.message.gid, scheme: SCHEME };
    await this.broker.publisher.publish(queue, Buffer.from(JSON.stringify(copy)), envelope, {
      kind: { ttlMs, expiredTo: this.checkQueue },
    });
  }

  /** Publishes the message itself to every consumer, with confirm. */
  async deliver(message: HalfMessage): Promise<void> {
    const envelope = {
      messageId: message.id,
      type: typeOf({ name: message.contract, version: message.version }),
      gid: message.gid,
      scheme: SCHEME,
      traceparent: message.traceparent ?? undefined,
    };
    const queues = message.consumers.split(',').map((consumer) => queueOf(consumer, message.version));
    const body = Buffer.from(message.payload);
    await Promise.all(
      queues.map((queue) => this.broker.publisher.publish(queue, body, envelope, { kind: 'replicated' })),
    );
  }

  /** Declares everything, so that a broker that cannot do it is found out at start. */
  async declare(): Promise<void> {
    await this.broker.publisher.inspect(this.checkQueue, 'replicated');
    for (const ttlMs of this.options.levelsMs) {
      await this.broker.publisher.inspect(`dtx.${this.core.app}.half-wait.${ttlMs}ms.v1`, {
        ttlMs,
        expiredTo: this.checkQueue,
      });
    }
  }
}
