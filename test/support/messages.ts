import type { Options } from 'amqplib';
import { type Contract, queueOf, receiptQueueOf } from '../../libs/dtx/src/core/broker/contract.js';
import { toProperties, typeOf } from '../../libs/dtx/src/core/broker/envelope.js';
import * as contracts from '../../libs/shop/src/messages.js';
import { management } from '../../scripts/infra/broker-api.mjs';
import { QueueProbe } from './queue-probe.js';
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

/** Publishes copies of messages that senders have in their tables. */
export class TestPublisher extends QueueProbe {
  /** Publishes a message as its sender does, to every consumer of its contract. */
  async repeat(message: SentMessage): Promise<void> {
    for (const consumer of consumersOf.get(message.contract)!) {
      await this.send(queueOf(consumer, message.version), Buffer.from(message.payload), propertiesOf(message));
    }
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

/** The counters of the broker over all queues of a world but those of receipts. They are a few seconds late. */
export async function brokerCounts(world: World): Promise<{ delivered: number; redelivered: number; acked: number }> {
  const path = `/queues/${encodeURIComponent(world.vhost)}?columns=name,message_stats`;
  const queues: Array<{ name: string; message_stats?: Record<string, number> }> = await management(
    world.management,
    'GET',
    path,
  );
  const work = queues.filter(({ name }) => !/\.receipts\./.test(name));
  const sum = (key: string) => work.reduce((total, queue) => total + (queue.message_stats?.[key] ?? 0), 0);
  return { delivered: sum('deliver'), redelivered: sum('redeliver'), acked: sum('ack') };
}
