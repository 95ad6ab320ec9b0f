// The relay against the broker's own rate of confirmed messages, and against a bare relay: same size, same queues, without consumers.
import { connect } from 'amqplib';
import { bareRelayPerSecond } from '../bare-relay.js';
import { addDueRows, isUnsent, PAYLOAD, SINKS } from '../outbox-rows.js';
import type { Finding } from '../report.js';
import { declareSinks, type QueueType, queueOfSink } from '../sinks.js';
import { type PartOptions, secondsUntil } from './part.js';

const WINDOW = 100;
const BOUND_MS = 180_000;

export async function relay({ stage, progress, quick }: PartOptions): Promise<Finding[]> {
  // A broker takes a burst of a few thousand messages within 0.1 s, before its disk does. Rows and messages are as many.
  const rows = quick ? 20_000 : 60_000;
  const shop = await stage.open('shop');
  try {
    progress.step(`the broker confirms ${rows} messages`);
    const { rabbitmq } = shop.sandbox;
    await confirmedPerSecond(rabbitmq, 'quorum', 1_000);
    const classic = await confirmedPerSecond(rabbitmq, 'classic', rows);
    const quorum = await confirmedPerSecond(rabbitmq, 'quorum', rows);
    const isSent = async () => !(await isUnsent(shop.databases));
    await addDueRows(shop.databases, rows / 2, 'warm');
    await secondsUntil('the warm-up', isSent, BOUND_MS);
    progress.step(`the relay sends ${rows} rows`);
    await addDueRows(shop.databases, rows, 'relay');
    const seconds = await secondsUntil(`sending ${rows} rows`, isSent, BOUND_MS);
    progress.step(`a bare relay sends ${rows} rows`);
    const bare = await bareRelayPerSecond(shop.sandbox, 'relay');
    return [
      { what: `broker, quorum queues, window of ${WINDOW}`, value: quorum, unit: 'confirmed messages/s' },
      { what: `broker, classic queues, window of ${WINDOW}`, value: classic, unit: 'confirmed messages/s' },
      { what: 'relay of one instance', value: rows / seconds, unit: 'rows/s to SENT' },
      { what: 'relay against the broker, quorum queues', value: rows / seconds / quorum, unit: 'x' },
      { what: 'bare relay, without the library', value: bare, unit: 'rows/s to SENT' },
      { what: 'bare relay against the broker, quorum queues', value: bare / quorum, unit: 'x' },
    ];
  } finally {
    await shop.stop();
  }
}

async function confirmedPerSecond(url: string, type: QueueType, count: number): Promise<number> {
  const connection = await connect(url);
  try {
    const channel = await connection.createConfirmChannel();
    await declareSinks(channel, type);
    const body = Buffer.from(PAYLOAD);
    let next = 0;
    const publisher = async () => {
      while (next < count) {
        const queue = queueOfSink(SINKS[next++ % SINKS.length]!, type);
        await new Promise<void>((resolve, reject) => {
          const options = { persistent: true, mandatory: true };
          channel.sendToQueue(queue, body, options, (error) => (error ? reject(error) : resolve()));
        });
      }
    };
    const since = performance.now();
    await Promise.all(Array.from({ length: WINDOW }, publisher));
    const perSecond = count / ((performance.now() - since) / 1_000);
    await declareSinks(channel, type); // empties them
    return perSecond;
  } finally {
    await connection.close();
  }
}
