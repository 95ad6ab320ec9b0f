import { Logger } from '@nestjs/common';
import type { ConfirmPublisher } from '../../../libs/dtx/src/core/broker/confirm-publisher.js';
import type { BrokerConnection } from '../../../libs/dtx/src/core/broker/connection.js';
import type { Pausing } from '../../../libs/dtx/src/core/broker/pausing.js';
import type { Delivery, QueueConsumer } from '../../../libs/dtx/src/core/broker/queue-consumer.js';
import type { Queues } from '../../../libs/dtx/src/core/broker/queue-declarations.js';
import type { QueueKind } from '../../../libs/dtx/src/core/broker/queue-kinds.js';
import { built } from '../../fixtures/built-library.js';

const LIMIT_MS = 5_000;

/** What the library has logged since the start of the file. */
export const logged: string[] = [];

export function keepLogs(): void {
  const keep = (...said: unknown[]) => void logged.push(said.join(' '));
  Logger.overrideLogger({ log: () => {}, error: keep, warn: keep });
}

/** One account's publisher and consumers, as the library makes them. */
export class Wire {
  readonly publisher: ConfirmPublisher;
  readonly connection: BrokerConnection;
  private readonly queues: Queues;
  private readonly consumers: QueueConsumer[] = [];

  constructor(url: string | readonly string[]) {
    const reconnect = { firstMs: 20, factor: 1, capMs: 20 };
    this.connection = new (built('core/broker/connection.js').BrokerConnection)({
      url,
      heartbeatSeconds: 60,
      reconnect,
      name: 'wire',
      queues: 'classic',
    });
    this.queues = new (built('core/broker/queue-declarations.js').Queues)(this.connection, LIMIT_MS);
    const options = { windowMax: 500, timeoutMs: LIMIT_MS };
    this.publisher = new (built('core/broker/confirm-publisher.js').ConfirmPublisher)(this.connection, options);
    this.connection.start();
  }

  publish(queue: string, id: string, kind: QueueKind = 'work'): Promise<void> {
    const envelope = { messageId: id, type: 'test', gid: id, scheme: 'test' };
    return this.publisher.publish(queue, Buffer.from('{}'), envelope, { kind });
  }

  consume(
    queue: string,
    handle: (delivery: Delivery) => Promise<void>,
    kind: QueueKind = 'work',
    pausing: Pausing = 'stop',
  ): QueueConsumer {
    const options = { queue, kind, prefetch: 10, limitMs: LIMIT_MS, pausing };
    const consumer = new (built('core/broker/queue-consumer.js').QueueConsumer)(
      this.connection,
      this.queues,
      options,
      handle,
    );
    this.consumers.push(consumer);
    consumer.start();
    return consumer;
  }

  async close(): Promise<void> {
    await Promise.all(this.consumers.map((consumer) => consumer.stop(0)));
    await this.connection.close();
  }
}
