import { type ChannelModel, connect } from 'amqplib';
import { type BrokerNode, brokerNodeOf } from '../core/broker/broker-nodes.js';
import { within } from '../core/broker/broker-step-timeout.js';
import { connectionProblem } from '../core/broker/connection-problem.js';
import { meaningOf, NOT_FOUND, PRECONDITION_FAILED, QueueRefused } from '../core/broker/refusal.js';
import { parseBrokerUrls } from '../core/broker-urls.js';
import { readableUrl, type Terminal } from './command.js';

const STEP_LIMIT_MS = 10_000;

/**
 * Deletes each of the classic queues that exists and has no ready message, and prints what it did. RabbitMQ 3.10 deletes a
 * queue with an unacknowledged message, so the old senders must have ended before. One that sends declares it again.
 * @returns 1 if a queue is left because it has messages
 */
export async function deleteEmptyQueues(
  urls: string,
  queues: readonly string[],
  { say, signal }: Terminal,
): Promise<number> {
  const nodes = readableUrl('RabbitMQ', () => parseBrokerUrls(urls).map(brokerNodeOf));
  const connection = await connectionToAny(nodes);
  try {
    let left = 0;
    for (const queue of queues) {
      signal.throwIfAborted();
      const outcome = await deleteIfEmpty(connection, queue);
      if (outcome === 'has messages') left++;
      say(`${queue}: ${outcome}`);
    }
    say(
      left === 0 ? 'no old queue is left' : `${left} queue(s) have messages; wait until they are consumed, then repeat`,
    );
    return left === 0 ? 0 : 1;
  } finally {
    await within(STEP_LIMIT_MS, 'closing', connection.close()).catch(() => {});
  }
}

/** A connection to the first node that answers. @throws Error with the problem of the last one */
async function connectionToAny(nodes: readonly BrokerNode[]): Promise<ChannelModel> {
  let problem = '';
  for (const node of nodes) {
    try {
      const connection = await within(STEP_LIMIT_MS, 'connecting', connect(node.address) as Promise<ChannelModel>);
      connection.on('error', () => {});
      return connection;
    } catch (error) {
      problem = `cannot connect to ${node.name}: ${await connectionProblem(error, node)}`;
    }
  }
  throw new Error(problem);
}

/** On a channel of its own, since a refusal closes it. @throws QueueRefused without the right to delete */
async function deleteIfEmpty(
  connection: ChannelModel,
  queue: string,
): Promise<'deleted' | 'has messages' | 'does not exist'> {
  const channel = await within(STEP_LIMIT_MS, 'opening a channel', connection.createChannel());
  channel.on('error', () => {});
  try {
    await within(STEP_LIMIT_MS, `looking at ${queue}`, channel.checkQueue(queue));
    await within(STEP_LIMIT_MS, `deleting ${queue}`, channel.deleteQueue(queue, { ifEmpty: true }));
    await channel.close();
    return 'deleted';
  } catch (error) {
    const meant = meaningOf(error, { what: `cannot delete queue ${queue}`, queue, right: 'configure' });
    if (!(meant instanceof QueueRefused)) throw meant;
    if (meant.code === NOT_FOUND) return 'does not exist';
    if (meant.code === PRECONDITION_FAILED) return 'has messages';
    throw meant;
  }
}
