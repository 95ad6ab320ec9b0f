import type { ConfirmChannel } from 'amqplib';
import { ACCESS_REFUSED, meaningOf, PRECONDITION_FAILED, QueueRefused } from './refusal.js';

/**
 * Time in milliseconds without a further publish after the broker rejected the account. Each attempt closes the
 * channel.
 */
const REFUSED_MS = 5_000;
/** The error text for a body above `max_message_size`: the size of the body and the maximum. */
const TOO_LARGE = /message size (\d+)\D+(\d+)/;

/**
 * Remembers permanent rejections of messages. The broker answers such a message by closing the channel, with all other
 * messages on it. So a known rejection is answered here and the message is not sent.
 */
export class SendRefusals {
  /** The current rejection of the account. */
  private account: { readonly message: string; readonly until: number } | undefined;
  /** The largest accepted body in bytes. It changes only with a restart of the broker. */
  private bytesMax = Number.POSITIVE_INFINITY;
  /** Closed channels with the reason: the account, or a body of this size. */
  private readonly channels = new WeakMap<ConfirmChannel, 'account' | number>();

  constructor(private readonly warn: (message: string) => void) {}

  /** Learns from the error of a closed channel. */
  closed(channel: ConfirmChannel, error: Error & { code?: number }): void {
    const { message } = meaningOf(error, { what: 'cannot publish', queue: '', right: 'write' });
    if (error.code !== ACCESS_REFUSED || this.account?.message !== message) this.warn(message);
    if (error.code === ACCESS_REFUSED) {
      this.account = { message, until: performance.now() + REFUSED_MS };
      this.channels.set(channel, 'account');
    }
    const [, bytes, bytesMax] = (error.code === PRECONDITION_FAILED && TOO_LARGE.exec(error.message)) || [];
    if (bytes === undefined) return;
    this.bytesMax = Number(bytesMax);
    this.channels.set(channel, Number(bytes));
  }

  /** Returns the known rejection of a body before it is sent, or null. */
  before(queue: string, bytes: number): QueueRefused | null {
    if (this.account && performance.now() < this.account.until) return refusedAccount(queue, this.account.message);
    return bytes > this.bytesMax ? this.tooLarge(queue, bytes) : null;
  }

  /** Returns the rejection of a sent body, or null if another body closed the channel. */
  of(channel: ConfirmChannel, queue: string, bytes: number): QueueRefused | null {
    const why = this.channels.get(channel);
    if (why === 'account') return refusedAccount(queue, this.account!.message);
    return why === bytes ? this.tooLarge(queue, bytes) : null;
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
