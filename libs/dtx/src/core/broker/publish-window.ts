import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable } from '../errors/errors.js';

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
