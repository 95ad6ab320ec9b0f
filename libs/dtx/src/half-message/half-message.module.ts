import { type DynamicModule, Inject, Injectable, Logger, Module, OnApplicationBootstrap } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { BrokerUnavailable, OptionsError } from '../core/errors.js';
import { idFloor } from '../core/gid.js';
import { parseOptions } from '../core/options.js';
import { Purger } from '../core/purge.js';
import { CheckBack } from './check-back.js';
import { Copies } from './copies.js';
import { HalfMessages } from './half-messages.js';
import { HalfMessageOperations } from './operations.js';
import {
  HALF_MESSAGE_OPTIONS,
  type HalfMessageOptions,
  type HalfMessageOptionsInput,
  halfMessageOptions,
  horizonMs,
} from './options.js';
import { Sweeper } from './sweeper.js';

const BROKER_WAIT_MS = 5_000;

/** Only sent and rolled back verdicts, and only after the last level's horizon: until then a copy may come and ask. */
@Injectable()
class VerdictPurge {
  constructor(purger: Purger, database: Database, @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions) {
    purger.add({
      name: 'half message verdicts',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_half WHERE id < ? AND state IN ('SENT', 'ROLLED_BACK') ORDER BY id LIMIT ${limit}`,
        values: [idFloor(database.nowMs() - options.retentionMs - horizonMs(options))],
      }),
    });
  }
}

/** Refuses to start, saying why, with a broker that cannot hold copies. One that is away is asked when it comes. */
@Injectable()
class BrokerCheck implements OnApplicationBootstrap {
  private readonly logger = new Logger('HalfMessages');

  constructor(
    private readonly broker: Broker,
    private readonly copies: Copies,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const up = this.broker.publisher.isUp || (await this.cameUp());
    if (up) await this.declare();
    else this.broker.publisher.once('up', () => void this.declare().catch((error) => this.logger.error(error.message)));
  }

  private cameUp(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), BROKER_WAIT_MS);
      this.broker.publisher.once('up', () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  private async declare(): Promise<void> {
    await this.copies.declare().catch((error: Error) => {
      const lost = error instanceof BrokerUnavailable && !/PRECONDITION|NOT_IMPLEMENTED|406|540/.test(error.message);
      if (lost) return; // declared with the next publish
      throw new OptionsError(
        `half messages need quorum queues with a TTL and at-least-once dead lettering (RabbitMQ 3.10 or newer): ${error.message}`,
      );
    });
  }
}

/** Half messages with check-back (可靠消息最终一致性). Import it in the root module of the app that produces them. */
@Module({})
export class HalfMessageModule {
  /** @throws OptionsError naming what is wrong */
  static forRoot(options: HalfMessageOptionsInput = {}): DynamicModule {
    return {
      module: HalfMessageModule,
      global: true,
      providers: [
        { provide: HALF_MESSAGE_OPTIONS, useValue: parseOptions('halfMessage', halfMessageOptions, options) },
        Copies,
        HalfMessages,
        CheckBack,
        Sweeper,
        HalfMessageOperations,
        VerdictPurge,
        BrokerCheck,
      ],
      exports: [HalfMessages],
    };
  }
}
