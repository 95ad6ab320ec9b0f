import { randomUUID } from 'node:crypto';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import { type BrokerNode, brokerNodeOf } from '../core/broker/broker-nodes.js';
import { within } from '../core/broker/broker-step-timeout.js';
import { connectionProblem } from '../core/broker/connection-problem.js';
import { argumentsOf } from '../core/broker/queue-kinds.js';
import { meaningOf, NOT_FOUND, QueueRefused, type Right } from '../core/broker/refusal.js';
import { parseBrokerUrls } from '../core/broker-urls.js';
import { textOf } from '../core/errors/errors.js';
import { type DtxQueue, leftoverQueuesOf, type QueuesOptions, queuesOf } from '../schema/queues-of-app.js';
import { isOlder } from '../xa/supported-servers.js';
import { readableUrl } from './command.js';
import type { Report } from './finding.js';

const OLDEST_RABBITMQ = [3, 10, 0];
const CONNECT_LIMIT_MS = 10_000;
const STEP_LIMIT_MS = 10_000;

export interface BrokerCheck {
  /** The name of the app. It is part of the name of the queue by which rights are tried. */
  readonly app: string;
  /** Option `queuePrefix` of `DtxModule`. */
  readonly prefix: string;
  /** The app with its contracts. Its queues must exist if the account may not declare them. Undefined if not known. */
  readonly queues: QueuesOptions | undefined;
  readonly signal: AbortSignal;
}

/**
 * Checks broker, virtual host and rights with the account of the app. It tries them on an exclusive queue of its own.
 * Each of several nodes must be reachable. Rights and queues belong to the cluster and are checked at the first of them.
 */
export async function checkBroker(urls: string, check: BrokerCheck, report: Report): Promise<void> {
  const nodes = readableUrl('RabbitMQ', () => parseBrokerUrls(urls).map(brokerNodeOf));
  const connections: ChannelModel[] = [];
  try {
    for (const node of nodes) {
      const connection = await checkNode(node, nodes.length > 1, check, report);
      if (connection) connections.push(connection);
    }
    const [first] = connections;
    if (!first) return;
    const mayConfigure = await checkOwnQueue(first, check, report);
    if (check.queues) {
      await checkQueues(first, queuesOf(check.queues), mayConfigure, report);
      await tellLeftover(first, leftoverQueuesOf(check.queues), report);
    }
  } finally {
    for (const one of connections) await within(STEP_LIMIT_MS, 'closing', one.close()).catch(() => {});
  }
}

/** The connection to one node, or null after a reported failure. */
async function checkNode(
  node: BrokerNode,
  isOneOfSeveral: boolean,
  { signal }: BrokerCheck,
  report: Report,
): Promise<ChannelModel | null> {
  const of = isOneOfSeveral ? ` ${node.name}` : '';
  try {
    const options = { timeout: CONNECT_LIMIT_MS, clientProperties: { connection_name: 'nest-dtx doctor' } };
    const connecting = connect(node.address, options) as Promise<ChannelModel>;
    const connection = await within(CONNECT_LIMIT_MS, 'connecting', connecting, signal);
    connection.on('error', () => {});
    checkServer(connection, `broker server${of}`, report);
    return connection;
  } catch (error) {
    const problem = await connectionProblem(error, node);
    const advice = problem.includes('; ') ? '' : '; check the address';
    report({ what: `broker${of}`, isOk: false, text: `cannot connect: ${problem}${advice}` });
    return null;
  }
}

function checkServer({ connection }: ChannelModel, what: string, report: Report): void {
  const { product, version } = connection.serverProperties;
  const isOk = !isOlder(String(version), OLDEST_RABBITMQ);
  const advice = isOk ? '' : `; upgrade to RabbitMQ ${OLDEST_RABBITMQ.join('.')} or newer`;
  report({ what, isOk, text: `${product} ${version}${advice}` });
}

/** Returns whether the account may declare a queue of this app. */
async function checkOwnQueue(
  connection: ChannelModel,
  { app, prefix, queues }: BrokerCheck,
  report: Report,
): Promise<boolean> {
  const queue = `${prefix}.${app}.doctor.${randomUUID()}`;
  const problem = await stepOf(connection, { queue, right: 'configure' }, (channel) =>
    channel.assertQueue(queue, argumentsOf(queue, 'work')),
  );
  const isNeeded = queues === undefined;
  const what = 'broker right configure';
  if (!problem) report({ what, isOk: true, text: `queues such as ${queue} can be declared` });
  else if (isNeeded)
    report({
      what,
      isOk: false,
      text: `${problem.text}; or declare the queues that npx nest-dtx queues prints, then repeat with --contracts`,
    });
  else report({ what, isOk: true, text: 'missing, so the queues below must exist' });
  const write = await writeProblem(connection, queue);
  report({ what: 'broker right write', isOk: !write, text: write ?? 'messages are published and confirmed' });
  if (problem) return false;
  const read = await stepOf(connection, { queue, right: 'read' }, (channel) => channel.get(queue, { noAck: true }));
  report({ what: 'broker right read', isOk: !read, text: read?.text ?? 'messages are consumed' });
  return true;
}

/** Publishes to the default exchange. Without a queue the broker drops the message and confirms it. */
async function writeProblem(connection: ChannelModel, queue: string): Promise<string | null> {
  try {
    const channel = await within(STEP_LIMIT_MS, 'opening a channel', connection.createConfirmChannel());
    const closed = new Promise<never>((_, reject) => channel.on('error', reject));
    closed.catch(() => {});
    channel.publish('', queue, Buffer.from('doctor'));
    await within(STEP_LIMIT_MS, 'a publisher confirm', Promise.race([channel.waitForConfirms(), closed]));
    await channel.close();
    return null;
  } catch (error) {
    return textOf(meaningOf(error, { what: 'cannot publish', queue, right: 'write' }));
  }
}

/** Queues that exist must have the arguments of the library. Without `configure`, each one must exist. */
async function checkQueues(
  connection: ChannelModel,
  queues: readonly DtxQueue[],
  mayConfigure: boolean,
  report: Report,
): Promise<void> {
  const problems: string[] = [];
  for (const { name: queue, durable, arguments: given } of queues) {
    const missing = await stepOf(connection, { queue, right: 'read' }, (channel) => channel.checkQueue(queue));
    const mayCreate = mayConfigure && missing?.isMissing;
    if (missing && !mayCreate) problems.push(missing.text);
    if (missing || !mayConfigure) continue;
    const other = await stepOf(connection, { queue, right: 'configure' }, (channel) =>
      channel.assertQueue(queue, { durable, arguments: given }),
    );
    if (other) problems.push(other.text);
  }
  const what = 'broker queues';
  if (problems.length === 0) report({ what, isOk: true, text: `${queues.length} queues, none missing or different` });
  else report({ what, isOk: false, text: `${problems.join('; ')}; npx nest-dtx queues prints them as they must be` });
}

/** The apps still take from queues of the other type. They cost nothing, but a classic one lives on one node. */
async function tellLeftover(connection: ChannelModel, names: readonly string[], report: Report): Promise<void> {
  const left: string[] = [];
  for (const queue of names) {
    const problem = await stepOf(connection, { queue, right: 'read' }, (channel) => channel.checkQueue(queue));
    if (!problem) left.push(queue);
  }
  if (left.length === 0) return;
  const text = `${left.join(', ')} are of the type of an earlier setting and still consumed; npx nest-dtx queues --delete-old deletes them when they are empty`;
  report({ what: 'broker old queues', isOk: true, text });
}

interface Problem {
  readonly text: string;
  readonly isMissing: boolean;
}

/** Runs one step on a channel of its own, because a refusal closes the channel. */
async function stepOf(
  connection: ChannelModel,
  { queue, right }: { queue: string; right: Right },
  step: (channel: Channel) => Promise<unknown>,
): Promise<Problem | null> {
  try {
    const channel = await within(STEP_LIMIT_MS, 'opening a channel', connection.createChannel());
    channel.on('error', () => {});
    await within(STEP_LIMIT_MS, `a step on ${queue}`, step(channel));
    await channel.close();
    return null;
  } catch (error) {
    const verb = { configure: 'declare', read: 'read', write: 'publish to' }[right];
    const meant = meaningOf(error, { what: `cannot ${verb} queue ${queue}`, queue, right });
    const isMissing = meant instanceof QueueRefused && meant.code === NOT_FOUND;
    return { text: meant.message, isMissing };
  }
}
