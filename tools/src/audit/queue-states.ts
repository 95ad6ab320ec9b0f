// The queues of a sandbox's virtual host. Ready messages are asked of the queue itself. Only the management API knows the
// delivered messages without an acknowledgement.
import { type Channel, type ChannelModel, connect } from 'amqplib';
import type { Sandbox } from '../sandbox/sandbox.js';
import { management } from '../servers/broker-api.js';

export interface QueueState {
  readonly name: string;
  readonly type: string;
  readonly ready: number;
  readonly unacked: number;
  readonly consumers: number;
}

interface ListedQueue {
  name: string;
  type: string;
  messages_unacknowledged?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Of the ways to ask the management API, this one skips its statistics, which are up to 10 s old: a classic queue's
 * totals are then of this moment, a quorum queue's of its last tick, up to 5 s ago (measured on RabbitMQ 3.10 and 4.3).
 */
const TOTALS = 'disable_stats=true&enable_queue_totals=true';

export async function readQueues(sandbox: Pick<Sandbox, 'vhost' | 'management' | 'rabbitmq'>): Promise<QueueState[]> {
  const path = `/queues/${encodeURIComponent(sandbox.vhost)}?${TOTALS}`;
  const listed = await management<ListedQueue[]>(sandbox.management, 'GET', path, undefined, { allow: [404] });
  if (!listed || listed.length === 0) return []; // the virtual host does not exist, or is empty
  const live = await askQueues(
    sandbox.rabbitmq,
    listed.map(({ name }) => name),
  );
  return listed.flatMap(({ name, type, messages_unacknowledged: unacked = 0 }) => {
    const now = live.get(name);
    return now ? [{ name, type, unacked, ...now }] : [];
  });
}

/** A passive declaration is answered by the queue itself, at once and exactly. */
async function askQueues(
  url: string,
  names: readonly string[],
): Promise<Map<string, { ready: number; consumers: number }>> {
  const connection = await connect(url, { timeout: CONNECT_TIMEOUT_MS });
  connection.on('error', () => {}); // its calls reject as well
  const live = new Map<string, { ready: number; consumers: number }>();
  try {
    let channel: Channel | null = null;
    for (const name of names) {
      channel ??= await openChannel(connection);
      const answer = await channel.checkQueue(name).catch(() => null);
      if (answer) live.set(name, { ready: answer.messageCount, consumers: answer.consumerCount });
      else channel = null; // deleted meanwhile: the broker has closed the channel
    }
  } finally {
    await connection.close().catch(() => {});
  }
  return live;
}

async function openChannel(connection: ChannelModel): Promise<Channel> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

export const leftInQueues = (queues: readonly QueueState[]): string[] =>
  queues
    .filter(({ ready, unacked }) => ready > 0 || unacked > 0)
    .map(({ name, ready, unacked }) => `queue ${name}: ${ready} ready, ${unacked} unacked`);

/** Whether the figures may lag behind, because a queue that is not classic has consumers. */
export const mayLag = (queues: readonly QueueState[]): boolean =>
  queues.some(({ type, consumers }) => type !== 'classic' && consumers > 0);
