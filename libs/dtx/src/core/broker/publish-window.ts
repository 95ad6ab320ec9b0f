import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable } from '../errors/errors.js';

export interface PublishOptions {
  readonly windowMax: number;
  readonly leaseMs: number;
  readonly timeoutMs: number;
}

/** The places of the messages without a confirm. A wait for a place that is too long throws BrokerUnavailable. */
export const publishWindow = (windowMax: number): Semaphore =>
  new Semaphore(
    windowMax,
    (ms) =>
      new BrokerUnavailable(
        `message not sent: publishWindowMax ${windowMax} messages wait for a confirm, no place for ${ms} ms; ` +
          'check RabbitMQ for alarms and load, then retry',
      ),
  );

/**
 * The place of one publish. It is free when the publish is over and amqplib keeps none of its messages. A message whose
 * time limit is over stays in the memory of amqplib until its confirm, its nack, or the end of its channel.
 */
export class WindowPlace {
  /** The publish itself, and its messages at amqplib. */
  private users = 1;

  constructor(private readonly release: () => void) {}

  hold(): void {
    this.users += 1;
  }

  leave(): void {
    this.users -= 1;
    if (this.users === 0) this.release();
  }
}
