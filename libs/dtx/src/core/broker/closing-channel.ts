import type { Channel } from 'amqplib';
import { CLOSE_LIMIT_MS, within } from './broker-step-timeout.js';

/** Closes a channel in the background. */
export function leave(channel: Channel): void {
  channel.on('error', () => {});
  try {
    void within(CLOSE_LIMIT_MS, 'closing a channel', channel.close()).catch(() => {});
  } catch {
    // The channel is already closed.
  }
}

/** amqplib throws on a closing channel. The broker redelivers its messages. */
export function unlessClosed(lost: AbortSignal, settle: () => void): void {
  if (lost.aborted) return;
  try {
    settle();
  } catch {
    // The `close` event is still to come.
  }
}
