import { connect } from 'amqplib';
import { management } from '../../tools/src/servers/broker-api.js';
import type { Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import type { RecordedMessage, RecordedQueue } from './installation-files.js';

interface Listed {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
  readonly exclusive: boolean;
}

/** Every durable queue with its messages, which stay in it. All consumers must have ended. */
export async function queuesOf(sandbox: Sandbox): Promise<RecordedQueue[]> {
  const path = `/queues/${encodeURIComponent(sandbox.vhost)}`;
  const listed = (await management<Listed[]>(sandbox.management, 'GET', path)) ?? [];
  const connection = await connect(sandbox.rabbitmq);
  try {
    const channel = await connection.createChannel();
    const queues: RecordedQueue[] = [];
    const durable = listed.filter(({ exclusive }) => !exclusive).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { name, arguments: args } of durable) {
      await until(`${name} has no consumer`, async () => (await channel.checkQueue(name)).consumerCount === 0);
      const messages: RecordedMessage[] = [];
      for (let got = await channel.get(name); got !== false; got = await channel.get(name))
        messages.push({ body: got.content.toString('utf8'), properties: given(got.properties) });
      queues.push({ name, arguments: withoutDefaults(args), messages });
    }
    return queues;
  } finally {
    await connection.close();
  }
}

/** The properties that the sender has set, without those that the broker adds. */
function given(properties: object): Record<string, unknown> {
  const set = Object.entries(properties).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(
    set.map(([name, value]) =>
      name === 'headers'
        ? [name, Object.fromEntries(Object.entries(value as object).filter(([header]) => !header.startsWith('x-')))]
        : [name, value],
    ),
  );
}

/** Newer brokers list the type of a classic queue, which was not declared. */
function withoutDefaults(args: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(args).filter(([name, value]) => name !== 'x-queue-type' || value !== 'classic'),
  );
}
