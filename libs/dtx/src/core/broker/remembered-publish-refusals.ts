import type { ConfirmChannel } from 'amqplib';
import type { PublishTarget } from './publish-target.js';
import { ACCESS_REFUSED, meaningOf, PRECONDITION_FAILED, QueueRefused } from './refusal.js';

/**
 * Time in milliseconds without a further publish after the broker rejected the account. Each attempt closes the
 * channel.
 */
const REFUSED_MS = 5_000;
/** The error text for a body above `max_message_size`: the size of the body and the maximum. */
const TOO_LARGE = /message size (\d+)\D+(\d+)/;

/** The exchange in the error text for a rejected account. */
const EXCHANGE = /exchange '([^']*)'/;
const DEFAULT = 'amq.default';

type Sent = Pick<PublishTarget, 'name' | 'exchange'>;

/**
 * Remembers permanent rejections of messages. The broker answers such a message by closing the channel, with all other
 * messages on it. So a known rejection is answered here and the message is not sent.
 */
export class SendRefusals {
  /** The current rejections of the account, by exchange. */
  private readonly accounts = new Map<string, { readonly message: string; readonly until: number }>();
  /** The largest accepted body in bytes. It changes only with a restart of the broker. */
  private bytesMax = Number.POSITIVE_INFINITY;
  /** Closed channels with the reason: the account at this exchange, or a body of this size. */
  private readonly channels = new WeakMap<ConfirmChannel, string | number>();

  constructor(private readonly warn: (message: string) => void) {}

  /** Learns from the error of a closed channel. */
  closed(channel: ConfirmChannel, error: Error & { code?: number }): void {
    const [, exchange = DEFAULT] = EXCHANGE.exec(error.message) ?? [];
    const { message } = meaningOf(error, { what: 'cannot publish', queue: '', right: 'write', exchange });
    if (error.code !== ACCESS_REFUSED || this.accounts.get(exchange)?.message !== message) this.warn(message);
    if (error.code === ACCESS_REFUSED) {
      this.accounts.set(exchange, { message, until: performance.now() + REFUSED_MS });
      this.channels.set(channel, exchange);
    }
    const [, bytes, bytesMax] = (error.code === PRECONDITION_FAILED && TOO_LARGE.exec(error.message)) || [];
    if (bytes === undefined) return;
    this.bytesMax = Number(bytesMax);
    this.channels.set(channel, Number(bytes));
  }

  /** Returns the known rejection of a body before it is sent, or null. */
  before({ name, exchange }: Sent, bytes: number): QueueRefused | null {
    const account = this.accounts.get(exchange || DEFAULT);
    if (account && performance.now() < account.until) return refusedAccount(name, account.message);
    return bytes > this.bytesMax ? this.tooLarge(name, bytes) : null;
  }

  /** Returns the rejection of a sent body, or null if another body closed the channel. */
  of(channel: ConfirmChannel, { name, exchange }: Sent, bytes: number): QueueRefused | null {
    const why = this.channels.get(channel);
    const account = this.accounts.get(exchange || DEFAULT);
    if (account && why === (exchange || DEFAULT)) return refusedAccount(name, account.message);
    return why === bytes ? this.tooLarge(name, bytes) : null;
  }

  /** Forgets the maximum size. The next connection may lead to a broker with another limit. */
  forgetSize(): void {
    this.bytesMax = Number.POSITIVE_INFINITY;
  }

  private tooLarge(queue: string, bytes: number): QueueRefused {
    const why = `the message has ${bytes} bytes, RabbitMQ accepts at most ${this.bytesMax} (max_message_size)`;
    return new QueueRefused(queue, PRECONDITION_FAILED, `cannot publish to ${queue}: ${why}`);
  }
}

function refusedAccount(queue: string, message: string): QueueRefused {
  return new QueueRefused(queue, ACCESS_REFUSED, message);
}
