import { Logger } from '@nestjs/common';
import { type ChannelModel, connect } from 'amqplib';
import type { ConfirmPublisher } from '../../../libs/dtx/src/core/broker/confirm-publisher.js';
import type { BrokerConnection } from '../../../libs/dtx/src/core/broker/connection.js';
import type { Delivery, QueueConsumer } from '../../../libs/dtx/src/core/broker/queue-consumer.js';
import type { Queues } from '../../../libs/dtx/src/core/broker/queue-declarations.js';
import type { QueueKind } from '../../../libs/dtx/src/core/broker/queue-kinds.js';
import { management } from '../../../tools/src/servers/broker-api.js';
import { built } from '../../fixtures/built-library.js';
import type { Sandbox } from '../../fixtures/sandbox.js';

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

  constructor(url: string) {
    const reconnect = { firstMs: 20, factor: 1, capMs: 20 };
    this.connection = new (built('core/broker/connection.js').BrokerConnection)({
      url,
      heartbeatSeconds: 60,
      reconnect,
      name: 'wire',
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

  consume(queue: string, handle: (delivery: Delivery) => Promise<void>, kind: QueueKind = 'work'): QueueConsumer {
    const options = { queue, kind, prefetch: 10, limitMs: LIMIT_MS };
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

/** Does what an administrator does to the broker of a sandbox. */
export class Administrator {
  private constructor(
    private readonly sandbox: Sandbox,
    private readonly connection: ChannelModel,
  ) {}

  static async of(sandbox: Sandbox): Promise<Administrator> {
    return new Administrator(sandbox, await connect(sandbox.rabbitmq));
  }

  /** An account with rights on queues of these patterns. Returns the sandbox's URL with it. */
  async account(user: string, password: string, rights: { configure: string; write: string; read: string }) {
    const path = encodeURIComponent(user);
    await management(this.sandbox.management, 'PUT', `/users/${path}`, { password, tags: '' });
    await this.permit(user, rights);
    const url = new URL(this.sandbox.rabbitmq);
    return `amqp://${path}:${encodeURIComponent(password)}@${url.host}${url.pathname}`;
  }

  async permit(user: string, rights: { configure: string; write: string; read: string }): Promise<void> {
    const path = `${encodeURIComponent(this.sandbox.vhost)}/${encodeURIComponent(user)}`;
    await management(this.sandbox.management, 'PUT', `/permissions/${path}`, rights);
  }

  /** Declares a queue as another version would have: with other arguments than the library gives it. */
  async declare(queue: string, type: 'classic' | 'quorum'): Promise<void> {
    const channel = await this.connection.createChannel();
    await channel.assertQueue(queue, { durable: true, arguments: type === 'quorum' ? { 'x-queue-type': type } : {} });
    await channel.close();
  }

  async remove(queue: string): Promise<void> {
    const channel = await this.connection.createChannel();
    await channel.deleteQueue(queue);
    await channel.close();
  }

  async waiting(queue: string): Promise<number> {
    const channel = await this.connection.createChannel();
    const { messageCount } = await channel.checkQueue(queue);
    await channel.close();
    return messageCount;
  }

  async close(users: readonly string[] = []): Promise<void> {
    for (const user of users) await management(this.sandbox.management, 'DELETE', `/users/${encodeURIComponent(user)}`);
    await this.connection.close();
  }
}
