import { connect } from 'amqplib';
import { management } from '../../tools/src/servers/broker-api.js';
import type { AppName, Sandbox } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/**
 * Stops the warm instances of an app when its queues are empty, so that all its work is routed to the next instance that
 * starts. The broker would deliver to a stopped process, so its connections are closed. Returns how to let the instances
 * go on.
 */
export async function setAside(shop: Stack, app: AppName): Promise<() => void> {
  const { sandbox } = shop;
  const warm = shop.instances.filter((one) => one.app === app && !one.exited);
  const goOn = () => {
    for (const one of warm) one.signal('SIGCONT');
  };
  try {
    await until(`the queues of ${app} are empty`, async () => {
      // An instance that has gone on a moment ago has its consumers back before it is stopped again.
      for (const one of warm) await shop.untilReady(one);
      for (const one of warm) one.signal('SIGSTOP');
      const messages = await untilDisconnected(sandbox, app);
      if (messages === 0) return true;
      // A message of the case before would take the next victim to its failpoint before the call. The instance may answer
      // that it is ready before it sees that its connections are closed, so it goes on until it has taken the messages.
      goOn();
      await until(`${app} takes its messages`, async () => (await countsOf(sandbox, app)).messages === 0);
      return false;
    });
  } catch (error) {
    goOn();
    throw error;
  }
  return goOn;
}

/** The list of the management API may miss a connection of the last seconds. */
async function closeConnections({ management: url, vhost }: Sandbox, app: AppName): Promise<void> {
  const path = `/vhosts/${encodeURIComponent(vhost)}/connections`;
  type Open = Array<{ name: string; client_properties?: { connection_name?: string } }>;
  for (const { name, client_properties } of (await management<Open>(url, 'GET', path)) ?? []) {
    if (!client_properties?.connection_name?.startsWith(`dtx ${app} `)) continue;
    await management(url, 'DELETE', `/connections/${encodeURIComponent(name)}`).catch(() => {}); // or it was closed meanwhile
  }
}

/** Resolves to the number of messages in the queues of an app. Without a consumer each is counted, also an unacked one. */
async function untilDisconnected(sandbox: Sandbox, app: AppName): Promise<number> {
  let messages = 0;
  await until(`the broker has no consumer of ${app}`, async () => {
    await closeConnections(sandbox, app);
    const counts = await countsOf(sandbox, app);
    messages = counts.messages;
    return counts.consumers === 0;
  });
  return messages;
}

/** Prepared messages wait there until their check. */
const WAITING = /\.half-(wait|check)\./;

/** Asks the queues themselves, because the counts of the management API are late. */
async function countsOf({ management: url, vhost, rabbitmq }: Sandbox, app: AppName) {
  const path = `/queues/${encodeURIComponent(vhost)}?columns=name,exclusive`;
  const queues = (await management<Array<{ name: string; exclusive: boolean }>>(url, 'GET', path)) ?? [];
  const connection = await connect(rabbitmq);
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => {}); // a queue may be deleted meanwhile
    const sum = { consumers: 0, messages: 0 };
    for (const { name, exclusive } of queues) {
      if (!name.startsWith(`dtx.${app}.`) || exclusive) continue;
      const { consumerCount, messageCount } = await channel.checkQueue(name);
      sum.consumers += consumerCount;
      if (!WAITING.test(name)) sum.messages += messageCount;
    }
    return sum;
  } finally {
    await connection.close();
  }
}
