import { randomUUID } from 'node:crypto';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import { within } from '../core/broker/broker-step-timeout.js';
import { brokerAddressOf } from '../core/broker/connection.js';
import { argumentsOf } from '../core/broker/queue-kinds.js';
import { meaningOf, NOT_FOUND, QueueRefused, type Right } from '../core/broker/refusal.js';
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

/** Checks broker, virtual host and rights with the account of the app. It tries them on an exclusive queue of its own. */
export async function checkBroker(url: string, check: BrokerCheck, report: Report): Promise<void> {
  const address = readableUrl('RabbitMQ', () => brokerAddressOf(url));
  let connection: ChannelModel;
  try {
    const options = { timeout: CONNECT_LIMIT_MS, clientProperties: { connection_name: 'nest-dtx doctor' } };
    const connecting = connect(address, options) as Promise<ChannelModel>;
    connection = await within(CONNECT_LIMIT_MS, 'connecting', connecting, check.signal);
  } catch (error) {
    return report({
      what: 'broker',
      isOk: false,
      text: connectProblem(error, decodeURIComponent(address.vhost ?? '/')),
    });
  }
  connection.on('error', () => {});
  try {
    checkServer(connection, report);
    const mayConfigure = await checkOwnQueue(connection, check, report);
    if (check.queues) {
      await checkQueues(connection, queuesOf(check.queues), mayConfigure, report);
      await tellLeftover(connection, leftoverQueuesOf(check.queues), report);
    }
  } finally {
    await within(STEP_LIMIT_MS, 'closing', connection.close()).catch(() => {});
  }
}

/** RabbitMQ closes the connection while it opens the virtual host if the host is missing or not permitted. */
function connectProblem(error: unknown, vhost: string): string {
  const text = textOf(error);
  if (/ConnectionOpenOk|NOT_ALLOWED|vhost/i.test(text))
    return `virtual host "${vhost}" does not exist, or the account may not use it (${text}); run rabbitmqctl add_vhost and set_permissions`;
  if (/ACCESS_REFUSED|ACCESS-REFUSED|403/.test(text)) return `account refused: ${text}; check user and password`;
  return `cannot connect: ${text}; check the address`;
}

function checkServer({ connection }: ChannelModel, report: Report): void {
  const { product, version } = connection.serverProperties;
  const isOk = !isOlder(String(version), OLDEST_RABBITMQ);
  const advice = isOk ? '' : `; upgrade to RabbitMQ ${OLDEST_RABBITMQ.join('.')} or newer`;
  report({ what: 'broker server', isOk, text: `${product} ${version}${advice}` });
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
