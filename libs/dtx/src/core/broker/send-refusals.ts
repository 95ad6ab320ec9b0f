import type { ConfirmChannel } from 'amqplib';
import { ACCESS_REFUSED, meaningOf, PRECONDITION_FAILED, QueueRefused } from './refusal.js';

/** An account without the right to publish closes the channel at each try. For so long nobody tries again. */
const REFUSED_MS = 5_000;
/** What the broker says of a body that is larger than its `max_message_size`: the size of the body, and the largest one. */
const TOO_LARGE = /message size (\d+)\D+(\d+)/;

/**
 * Why the broker takes a message of ours never, as far as it has said so. It says it by closing the channel, with all
 * other messages on it: so what it has said is remembered, and such a message is not sent again.
 */
export class SendRefusals {
  /** The account may not publish at all, as the broker said just now. */
  private account: { readonly message: string; readonly until: number } | undefined;
  /** The largest body, in bytes, that the broker takes. Its administrator changes that with a restart. */
  private bytesMax = Number.POSITIVE_INFINITY;
  /** Channels that were closed for the account, or for a body of so many bytes. */
  private readonly channels = new WeakMap<ConfirmChannel, 'account' | number>();

  constructor(private readonly warn: (message: string) => void) {}

  /** The broker has closed a channel. */
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

  /** Why a body is not sent at all; null where nothing is known against it. */
  before(queue: string, bytes: number): QueueRefused | null {
    if (this.account && performance.now() < this.account.until) return refusedAccount(queue, this.account.message);
    return bytes > this.bytesMax ? this.tooLarge(queue, bytes) : null;
  }

  /** Why a body that was on a channel was refused; null where it was not this body that the channel was closed for. */
  of(channel: ConfirmChannel, queue: string, bytes: number): QueueRefused | null {
    const why = this.channels.get(channel);
    if (why === 'account') return refusedAccount(queue, this.account!.message);
    return why === bytes ? this.tooLarge(queue, bytes) : null;
  }

  /** Another connection may be to a broker that takes more. */
  forgetSize(): void {
    this.bytesMax = Number.POSITIVE_INFINITY;
  }

  private tooLarge(queue: string, bytes: number): QueueRefused {
    const why = `the message has ${bytes} bytes, and the broker takes ${this.bytesMax} at the most (max_message_size)`;
    return new QueueRefused(queue, PRECONDITION_FAILED, `cannot publish to ${queue}: ${why}`);
  }
}

function refusedAccount(queue: string, message: string): QueueRefused {
  return new QueueRefused(queue, ACCESS_REFUSED, message);
}
