import type { ConfirmPublisher } from '../../../libs/dtx/src/core/broker/confirm-publisher.js';
import type { BrokerConnection } from '../../../libs/dtx/src/core/broker/connection.js';
import { management } from '../../../tools/src/servers/broker-api.js';
import { built } from '../../fixtures/built-library.js';
import type { Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const QUEUE = 'dtx.test.nacking.v1';

/** A publisher of the build, and a queue that RabbitMQ nacks: no message fits into it until `takeMessages`. */
export class NackingQueue {
  private constructor(
    private readonly sandbox: Sandbox,
    private readonly connection: BrokerConnection,
    private readonly publisher: ConfirmPublisher,
  ) {}

  /** @param leaseMs the publisher repeats for half of it, and for 3 s at most */
  static async open(sandbox: Sandbox, { root, leaseMs = 60_000 }: { root?: string; leaseMs?: number } = {}) {
    await management(sandbox.management, 'PUT', policyOf(sandbox), {
      pattern: '^dtx\\.test\\.nacking\\.',
      definition: { 'max-length': 0, overflow: 'reject-publish' },
      'apply-to': 'queues',
    });
    const connection: BrokerConnection = new (built('core/broker/connection.js', root).BrokerConnection)({
      url: sandbox.rabbitmq,
      heartbeatSeconds: 10,
      reconnect: { firstMs: 20, factor: 1, capMs: 20 },
      name: 'test',
      queues: 'classic',
    });
    const publisher: ConfirmPublisher = new (built('core/broker/confirm-publisher.js', root).ConfirmPublisher)(
      connection,
      { windowMax: 10, timeoutMs: 10_000, leaseMs },
    );
    connection.start();
    await until('the publisher is up', () => publisher.isUp);
    return new NackingQueue(sandbox, connection, publisher);
  }

  /** The channel of the next publish. */
  get channel(): unknown {
    return (this.publisher as unknown as { channel: unknown }).channel;
  }

  publish(id: string, queue = QUEUE): Promise<void> {
    return this.publisher.publish(queue, Buffer.from('{}'), { messageId: id, type: 'test', gid: id, scheme: 'test' });
  }

  /** Waits until the channel of the first nack has a successor. */
  async untilLeft(channel: unknown): Promise<void> {
    await until(
      'another channel takes the place of the one that nacks',
      () => this.channel && this.channel !== channel,
    );
  }

  async takeMessages(): Promise<void> {
    await management(this.sandbox.management, 'DELETE', policyOf(this.sandbox));
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}

const policyOf = ({ vhost }: Sandbox) => `/policies/${encodeURIComponent(vhost)}/nacking`;
