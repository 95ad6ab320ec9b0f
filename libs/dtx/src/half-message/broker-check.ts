import { Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { ACCESS_REFUSED, QueueRefused } from '../core/broker/refusal.js';
import { OptionsError, textOf } from '../core/errors/errors.js';
import { libraryLogger } from '../core/library-logger.js';
import { PreparedMessages } from './half-message-publisher.js';

/** How long the start of the app waits for the broker. After that the app starts without it. */
const BROKER_WAIT_MS = 3_000;

/**
 * Checks at start whether the broker supports half messages, by declaring their queues. A refusal stops the start. If the
 * broker is unavailable, the check runs at the first connection, and `HalfMessages.send` fails until then.
 * It writes only queues, which every start declares again.
 */
@Injectable()
export class BrokerCheck implements OnApplicationBootstrap {
  private readonly logger = libraryLogger('half messages');

  constructor(
    private readonly broker: Broker,
    private readonly preparedMessages: PreparedMessages,
  ) {}

  /** @throws OptionsError if the broker refuses a queue */
  async onApplicationBootstrap(): Promise<void> {
    const { publisher } = this.broker;
    const isUp = publisher.isUp || (await this.cameUp());
    if (isUp) await this.declare();
    else publisher.once('up', () => void this.declare().catch((error) => this.logger.error(textOf(error))));
  }

  private cameUp(): Promise<boolean> {
    const { publisher } = this.broker;
    return new Promise((resolve) => {
      const end = (isUp: boolean) => {
        clearTimeout(timer);
        publisher.off('up', up);
        resolve(isUp);
      };
      const up = () => end(true);
      const timer = setTimeout(end, BROKER_WAIT_MS, false);
      publisher.once('up', up);
      this.broker.start();
    });
  }

  private async declare(): Promise<void> {
    try {
      await this.preparedMessages.declare();
    } catch (error) {
      // The connection was lost again, or a permission is missing that may be granted later. Each publish declares as well.
      if (!(error instanceof QueueRefused) || error.code === ACCESS_REFUSED) return this.logger.warn(textOf(error));
      throw new OptionsError(
        `half messages need a broker whose quorum queues support a TTL and at-least-once dead-lettering (RabbitMQ 3.10 or ` +
          `newer); use such a broker, and delete a queue that was declared with other arguments: ${error.message}`,
      );
    }
  }
}
