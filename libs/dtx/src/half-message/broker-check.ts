import { Injectable, Logger, OnApplicationBootstrap } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';

import { ACCESS_REFUSED, QueueRefused } from '../core/broker/refusal.js';
import { OptionsError, textOf } from '../core/errors/errors.js';

import { Copies } from './prepared-messages.js';

/** How long a start waits for the broker before it goes on without: an app need not wait for its broker. */
const BROKER_WAIT_MS = 3_000;

/**
 * Finds out whether the broker can hold copies, by declaring what they need. One that cannot stops the start; one that
 * is away is asked when it comes, and until then nothing can be prepared.
 */
@Injectable()
export class BrokerCheck implements OnApplicationBootstrap {
  private readonly logger = new Logger('HalfMessages');

  constructor(
    private readonly broker: Broker,
    private readonly copies: Copies,
  ) {}

  /** @throws OptionsError when the broker refuses a queue */
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
      await this.copies.declare();
    } catch (error) {
      // Lost again meanwhile, or a right is missing, which a person may give while it runs: whoever publishes declares as well.
      if (!(error instanceof QueueRefused) || error.code === ACCESS_REFUSED) return this.logger.warn(textOf(error));
      throw new OptionsError(
        `half messages need a broker with quorum queues that have a TTL and dead-letter at least once (RabbitMQ 3.10 or ` +
          `newer), and queues of these names that were declared so: ${error.message}`,
      );
    }
  }
}
