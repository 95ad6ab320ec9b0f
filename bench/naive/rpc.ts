// Request and reply over RabbitMQ as the naive shop uses it: transient messages, no confirms, no duplicate detection.
import { randomUUID } from 'node:crypto';
import { type Channel, connect } from 'amqplib';

const PREFETCH = 64;
const TIMEOUT_MS = 10_000;
const noDelay = process.env.NAIVE_NO_DELAY === '1';

export type Call = <Reply>(queue: string, body: unknown) => Promise<Reply>;

/** Serves one queue. A request whose handler throws gets the error text as its reply. */
export async function serve(url: string, queue: string, handle: (body: never) => Promise<unknown>): Promise<void> {
  const channel = await (await connect(url, { noDelay })).createChannel();
  await channel.assertQueue(queue, { durable: false });
  await channel.prefetch(PREFETCH);
  await channel.consume(queue, async (message) => {
    if (!message) return;
    const { replyTo, correlationId } = message.properties;
    const answer = await handle(JSON.parse(message.content.toString()) as never).then(
      (result) => ({ result }),
      (error: Error) => ({ error: error.message }),
    );
    channel.sendToQueue(replyTo, Buffer.from(JSON.stringify(answer)), { correlationId });
    channel.ack(message);
  });
}

/** A client with a reply queue of its own. */
export async function client(url: string): Promise<Call> {
  const channel = await (await connect(url, { noDelay })).createChannel();
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
  const waiting = new Map<string, (answer: Answer) => void>();
  await channel.consume(
    replyTo,
    (message) => message && waiting.get(message.properties.correlationId)?.(JSON.parse(message.content.toString())),
    { noAck: true },
  );
  return (queue, body) => ask({ channel, replyTo, waiting }, queue, body);
}

interface Answer {
  readonly result?: unknown;
  readonly error?: string;
}
interface Asking {
  readonly channel: Channel;
  readonly replyTo: string;
  readonly waiting: Map<string, (answer: Answer) => void>;
}

function ask<Reply>({ channel, replyTo, waiting }: Asking, queue: string, body: unknown): Promise<Reply> {
  const correlationId = randomUUID();
  return new Promise<Reply>((resolve, reject) => {
    const timer = setTimeout(() => settle({ error: 'no answer in time' }), TIMEOUT_MS);
    const settle = ({ result, error }: Answer) => {
      clearTimeout(timer);
      waiting.delete(correlationId);
      if (error === undefined) resolve(result as Reply);
      else reject(new Error(error));
    };
    waiting.set(correlationId, settle);
    channel.sendToQueue(queue, Buffer.from(JSON.stringify(body)), { correlationId, replyTo });
  });
}
