import { type DynamicModule, Inject, Injectable, type InjectionToken, Module, OnModuleInit } from '@nestjs/common';
import { DATA_SOURCE, dataSourceProvider } from './app-data-source.js';
import { Broker } from './broker/broker.service.js';
import { Inbox } from './consumer/handle-by-inbox.js';
import { OnceByRedis } from './consumer/handle-by-redis.js';
import { InboxRetry } from './consumer/inbox-retry.js';
import { MessageHandlers } from './consumer/mount-handlers.js';
import { HandlerPipeline } from './consumer/nest-pipeline.js';
import { DtxTransport } from './consumer/nest-transport.js';
import { PauseWithoutWrites } from './consumer/pause-without-writes.js';
import { ReceiptSender } from './consumer/receipt-sender.js';
import { RedisClaims } from './consumer/redis-claims.js';
import { ServedConsumers } from './consumer/served-consumer-heartbeats.js';
import { StoredDeliveries } from './consumer/store-or-park-delivery.js';
import { CorePurge } from './core-purge.js';
import { Database } from './database/database.service.js';
import { IdempotencyKeys } from './database/idempotency-keys.js';
import { SharedTransactions } from './database/transactions-of-callers.js';
import { Conditions } from './dependency-health-registry.js';
import { AlertWebhook } from './durable/alert-webhook.js';
import { Alerts } from './durable/alerts.js';
import { BackgroundWork } from './durable/background-work.js';
import { DurableLoops } from './durable/loop-factory.js';
import { Operations } from './durable/operations-registry.js';
import { Purger } from './durable/purge.js';
import { QueueWatch } from './durable/unattended-queues.js';
import { checkFailpoints } from './failpoint.js';
import { CORE_OPTIONS } from './injection-tokens.js';
import { Installation } from './installation.js';
import { defineModuleOf } from './module-of-data-source.js';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from './module-options.js';
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
  Installation,
  Database,
  Broker,
  Conditions,
  Alerts,
  Inbox,
  InboxRetry,
  IdempotencyKeys,
  SharedTransactions,
  RedisClaims,
  Operations,
  BackgroundWork,
  DurableLoops,
  Purger,
  QueueWatch,
  DtxTransport,
];

/** Services that no other module injects. */
const inner = [
  ReceiptSender,
  OnceByRedis,
  HandlerPipeline,
  MessageHandlers,
  PauseWithoutWrites,
  ServedConsumers,
  StoredDeliveries,
  AlertWebhook,
  AppMigrations,
  CorePurge,
];

const configured = configurableModule<CoreOptionsInput, 'createDtxOptions'>({
  name: 'DtxModule',
  factoryMethod: 'createDtxOptions',
  values: [[CORE_OPTIONS, (given) => parseOptions('core', coreOptions, given)]],
  providers: [...services, ...inner],
  exports: [CORE_OPTIONS, DATA_SOURCE, ...services],
});

/** Extras of `DtxModule`, beside its checked options. They shape the module, so no factory returns them. */
export interface DtxModuleExtras extends ModuleScope {
  /**
   * The DataSource of this app: the `name` in `TypeOrmModule.forRoot({ name })`, or its injection token, such as
   * `getDataSourceToken(name)`. The default is the DataSource without a name.
   */
  dataSource?: InjectionToken;
}

/**
 * The NestJS module with the mechanisms that every scheme uses. It needs a TypeORM `DataSource` provider from
 * `@nestjs/typeorm`, opened as usual. With `manualInitialization: true` the library opens it, and the app also starts
 * while its database is unavailable.
 * @example
 *   imports: [
 *     TypeOrmModule.forRoot({ type: 'mysql', url, autoLoadEntities: true }),
 *     DtxModule.forRootAsync({
 *       inject: [ConfigService],
 *       useFactory: (config: ConfigService) => ({ app: 'order', rabbitmqUrl: config.getOrThrow('RABBITMQ_URL') }),
 *     }),
 *   ]
 */
@Module({})
export class DtxModule {
  /** Options that are known at once. @throws OptionsError that names every wrong option */
  static forRoot({ dataSource, ...options }: CoreOptionsInput & DtxModuleExtras): DynamicModule {
    return withDataSource(configured.forRoot(DtxModule, options), dataSource);
  }

  /**
   * Options from other providers. `isGlobal` and `dataSource` stand beside the factory. A wrong option stops the start
   * with an OptionsError that names it.
   */
  static forRootAsync({
    dataSource,
    ...options
  }: AsyncModuleOptions<CoreOptionsInput, 'createDtxOptions'> & DtxModuleExtras): DynamicModule {
    return withDataSource(configured.forRootAsync(DtxModule, options), dataSource);
  }
}

function withDataSource(definition: DynamicModule, dataSource: InjectionToken | undefined): DynamicModule {
  const providers = [...(definition.providers ?? []), dataSourceProvider(dataSource)];
  return defineModuleOf(dataSource, { ...definition, providers });
}
