// The queues of a world's virtual host: what is ready, asked of the queue itself, and what is delivered but not acked,
// which only the management API tells.
import { management } from '../infra/broker-api.mjs';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Of the ways to ask the management API, this one skips its statistics, which are up to 10 s old: a classic queue's
 * totals are then of this moment, a quorum queue's of its last tick, up to 5 s ago (measured on RabbitMQ 3.10 and 4.3).
 */
const TOTALS = 'disable_stats=true&enable_queue_totals=true';

/** @returns {Promise<Array<{ name: string, type: string, ready: number, unacked: number, consumers: number }>>} */
export async function readQueues(world) {
  const path = `/queues/${encodeURIComponent(world.vhost)}?${TOTALS}`;
  const listed = await management(world.management, 'GET', path, undefined, { allow: [404] });
  if (!listed || listed.length === 0) return []; // no such virtual host (any more), or nothing in it
  const live = await askQueues(
    world.rabbitmq,
    listed.map(({ name }) => name),
  );
  return listed
    .filter(({ name }) => live.has(name))
    .map(({ name, type, messages_unacknowledged: unacked = 0 }) => ({ name, type, unacked, ...live.get(name) }));
}

/** A passive declaration is answered by the queue itself, at once and exactly. */
async function askQueues(url, names) {
  const { connect } = await import('amqplib');
  const connection = await connect(url, { timeout: CONNECT_TIMEOUT_MS });
  connection.on('error', () => {}); // its calls reject as well
  const live = new Map();
  try {
    let channel = null;
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

async function openChannel(connection) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

export const leftInQueues = (queues) =>
  queues
    .filter(({ ready, unacked }) => ready > 0 || unacked > 0)
    .map(({ name, ready, unacked }) => `queue ${name}: ${ready} ready, ${unacked} unacked`);

/** Whether a look at these queues may be older than the moment, because somebody consumes a queue that is not classic. */
export const mayLag = (queues) => queues.some(({ type, consumers }) => type !== 'classic' && consumers > 0);
