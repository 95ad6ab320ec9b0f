import { type ChannelModel, type ConfirmChannel, connect, type Options } from 'amqplib';
import { type Contract, queueOf, receiptQueueOf } from '../../libs/dtx/src/core/broker/contract.js';
import { toProperties, typeOf } from '../../libs/dtx/src/core/broker/envelope.js';
import * as contracts from '../../libs/shop/src/messages.js';
import { management } from '../../tools/src/servers/broker-api.js';
import { APPS } from './stack.js';
import { type AppName, sql, type World } from './world.js';

/** A message as its sender's row has it. */
export interface SentMessage {
  readonly sender: AppName;
  readonly id: string;
  readonly gid: string;
  readonly contract: string;
  readonly version: number;
  readonly payload: string;
}

const consumersOf = new Map(
  Object.values(contracts)
    .filter((exported): exported is Contract<never> & typeof exported => 'consumers' in exported)
    .map((contract) => [contract.name, contract.consumers]),
);

/** The message rows of all senders, or of those made in the last seconds. */
export async function sentMessages(
  world: World,
  { lastSeconds }: { lastSeconds?: number } = {},
): Promise<SentMessage[]> {
  const recent = lastSeconds ? `WHERE created_at > UTC_TIMESTAMP(3) - INTERVAL ${lastSeconds} SECOND` : '';
  const rows = await Promise.all(
    APPS.map(async (sender) => {
      const query = `SELECT id, gid, contract, version, payload FROM dtx_outbox ${recent}`;
      return (await sql<Omit<SentMessage, 'sender'>>(world, sender, query)).map((row) => ({ ...row, sender }));
    }),
  );
  return rows.flat();
}

/** Publishes what a test wants into a world's queues, with confirm; counts. */
export class TestPublisher {
  published = 0;

  private constructor(
    private readonly connection: ChannelModel,
    private readonly channel: ConfirmChannel,
  ) {}

  static async open(world: World): Promise<TestPublisher> {
    const connection = await connect(world.rabbitmq);
    return new TestPublisher(connection, await connection.createConfirmChannel());
  }

  /** A plain durable queue, as somebody might make it by hand. */
  async declare(queue: string): Promise<void> {
    await this.channel.assertQueue(queue, { durable: true });
  }

  /** Straight into a queue that is there already, else it fails. */
  async send(queue: string, body: Buffer, properties: Options.Publish): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error(`there is no queue ${queue}`));
      this.channel.once('return', fail);
      this.channel.publish('', queue, body, { persistent: true, mandatory: true, ...properties }, (error) => {
        this.channel.off('return', fail);
        if (error) reject(error);
        else resolve();
      });
    });
    this.published++;
  }

  /** The very message that its sender publishes, to every consumer of its contract. */
  async repeat(message: SentMessage): Promise<void> {
    for (const consumer of consumersOf.get(message.contract)!) {
      await this.send(queueOf(consumer, message.version), Buffer.from(message.payload), propertiesOf(message));
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}

export function propertiesOf({ id, gid, contract, version, sender }: Omit<SentMessage, 'payload'>): Options.Publish {
  return toProperties({
    messageId: id,
    type: typeOf({ name: contract, version }),
    gid,
    scheme: 'local-message',
    replyTo: receiptQueueOf(sender),
  });
}

/** What the broker itself has counted over all queues of a world but those of receipts; a few seconds late. */
export async function brokerCounts(world: World): Promise<{ delivered: number; redelivered: number; acked: number }> {
  const path = `/queues/${encodeURIComponent(world.vhost)}?columns=name,message_stats`;
  type Listed = Array<{ name: string; message_stats?: Record<string, number> }>;
  const queues = await management<Listed>(world.management, 'GET', path);
  const work = (queues ?? []).filter(({ name }) => !/\.receipts\./.test(name));
  const sum = (key: string) => work.reduce((total, queue) => total + (queue.message_stats?.[key] ?? 0), 0);
  return { delivered: sum('deliver'), redelivered: sum('redeliver'), acked: sum('ack') };
}
