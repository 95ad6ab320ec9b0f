import { type DynamicModule, Inject, Injectable, Module, OnModuleInit } from '@nestjs/common';
import { Alerts } from './alert/alerts.js';
import { AlertWebhook } from './alert/webhook.js';
import { Broker } from './broker/broker.service.js';
import { DtxTransport } from './broker/transport.js';
import { Conditions } from './conditions.js';
import { Database } from './database/database.service.js';
import { QueueWatch } from './durable/queue-watch.js';
import { checkFailpoints } from './failpoint.js';
import { IdempotencyKeys } from './idempotency/keys.js';
import { RedisClaims } from './idempotency/redis-claims.js';
import { HeldDeliveries } from './inbox/held.js';
import { Inbox } from './inbox/inbox.js';
import { OnceByRedis } from './inbox/once-by-redis.js';
import { InboxOperations } from './inbox/operations.js';
import { ReceiptSender } from './inbox/receipts.js';
import { Served } from './inbox/served.js';
import { StoredDeliveries } from './inbox/stored.js';
import { Operations } from './operations.js';
import { type CoreOptions, type CoreOptionsInput, coreOptions, parseOptions } from './options.js';
import { Purger } from './purge.js';
import { CORE_OPTIONS } from './tokens.js';

/** The app's own schema goes the same way as the library's. */
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
  HeldDeliveries,
  IdempotencyKeys,
  RedisClaims,
  Operations,
  Purger,
  QueueWatch,
  DtxTransport,
];

/**
 * The mechanisms that every scheme stands on. Needs a TypeORM `DataSource` provider (of `@nestjs/typeorm`, with
 * `manualInitialization: true`, so that the app starts while its database is away).
 */
@Module({})
export class DtxModule {
  /** @throws OptionsError naming what is wrong */
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
        Served,
        StoredDeliveries,
        InboxOperations,
        AlertWebhook,
        AppMigrations,
      ],
      exports: [CORE_OPTIONS, ...services],
    };
  }
}
