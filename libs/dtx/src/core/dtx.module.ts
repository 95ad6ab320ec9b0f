import { type DynamicModule, Inject, Injectable, Module, OnModuleInit } from '@nestjs/common';
import { Broker } from './broker/broker.service.js';
import { Inbox } from './consumer/handle-by-inbox.js';
import { OnceByRedis } from './consumer/handle-by-redis.js';
import { InboxRetry } from './consumer/inbox-retry.js';
import { DtxTransport } from './consumer/nest-transport.js';
import { ReceiptSender } from './consumer/receipt-sender.js';
import { RedisClaims } from './consumer/redis-claims.js';
import { ServedConsumers } from './consumer/served-consumer-heartbeats.js';
import { StoredDeliveries } from './consumer/store-or-park-delivery.js';
import { CorePurge } from './core-purge.js';
import { Database } from './database/database.service.js';
import { IdempotencyKeys } from './database/idempotency-keys.js';
import { Conditions } from './dependency-health-registry.js';
import { AlertWebhook } from './durable/alert-webhook.js';
import { Alerts } from './durable/alerts.js';
import { DurableLoops } from './durable/loop-factory.js';
import { Operations } from './durable/operations-registry.js';
import { Purger } from './durable/purge.js';
import { QueueWatch } from './durable/unattended-queues.js';
import { checkFailpoints } from './failpoint.js';
import { CORE_OPTIONS } from './injection-tokens.js';
import { type CoreOptions, type CoreOptionsInput, coreOptions, parseOptions } from './options.js';

/** Applies the app's own migrations together with those of the library, and checks the failpoints at start. */
@Injectable()
class AppMigrations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    checkFailpoints();
    this.database.addMigrations(this.options.app, this.options.migrations, { isUsers: true });
  }
}

const services = [
  Database,
  Broker,
  Conditions,
  Alerts,
  Inbox,
  InboxRetry,
  IdempotencyKeys,
  RedisClaims,
  Operations,
  DurableLoops,
  Purger,
  QueueWatch,
  DtxTransport,
];

/**
 * The NestJS module with the mechanisms that every scheme uses. It needs a TypeORM `DataSource` provider from
 * `@nestjs/typeorm`, with `manualInitialization: true`. The app then starts while its database is unavailable.
 */
@Module({})
export class DtxModule {
  /** @throws OptionsError that names every wrong option */
  static forRoot(options: CoreOptionsInput): DynamicModule {
    const checked = parseOptions('core', coreOptions, options);
    return {
      module: DtxModule,
      global: true,
      providers: [
        { provide: CORE_OPTIONS, useValue: checked },
        ...services,
        ReceiptSender,
        OnceByRedis,
        ServedConsumers,
        StoredDeliveries,
        AlertWebhook,
        AppMigrations,
        CorePurge,
      ],
      exports: [CORE_OPTIONS, ...services],
    };
  }
}
