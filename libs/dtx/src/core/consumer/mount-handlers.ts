import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { Broker } from '../broker/broker.service.js';
import type { ConsumedQueue } from '../broker/consumed-queue.js';
import { queueOf } from '../broker/message-contract.js';
import { refuseUnservedClasses } from '../classes-of-schemes.js';
import { Database } from '../database/database.service.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { Installation } from '../installation.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { decoratorOf } from './consumer-decorators.js';
import { type ConsumerHandlers, endpointOf, groupByConsumer } from './endpoints.js';
import { Inbox } from './handle-by-inbox.js';
import { OnceByRedis } from './handle-by-redis.js';
import { discoverHandlers, unmanagedHandlers } from './handler-discovery.js';
import { InboxRetry } from './inbox-retry.js';
import type { Endpoint } from './incoming-message.js';
import { HandlerPipeline } from './nest-pipeline.js';
import { RedisClaims } from './redis-claims.js';

/**
 * Mounts the handlers of the app and consumes their queues, in any Nest application: with HTTP, as a microservice or as
 * an application context. A wrong handler stops the start before anything is opened. Consuming starts when the database
 * is ready, and attaches whenever the broker is available. The inbox around a handler provides the transaction, the
 * receipt and the ack. With `consumers: false` nothing is mounted. In an application with several `DtxModule`s,
 * each mounts the handlers of its app.
 */
@Injectable()
export class MessageHandlers implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('handlers');
  private readonly consumers: ConsumedQueue[] = [];
  private handlers: readonly ConsumerHandlers[] = [];
  private mounted: readonly Endpoint[] = [];
  private closing: Promise<void> | undefined;

  constructor(
    private readonly modules: ModulesContainer,
    private readonly pipeline: HandlerPipeline,
    private readonly broker: Broker,
    readonly database: Database,
    readonly inbox: Inbox,
    private readonly retry: InboxRetry,
    private readonly onceByRedis: OnceByRedis,
    private readonly claims: RedisClaims,
    private readonly installation: Installation,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** @throws OptionsError for a handler that cannot be mounted, or a class whose scheme has no module, by its name */
  onModuleInit(): void {
    if (!this.options.consumers) return;
    refuseUnservedClasses(this.modules);
    this.handlers = groupByConsumer(discoverHandlers(this.modules), this.installation);
    this.warnOfUnmanaged();
  }

  async onApplicationBootstrap(): Promise<void> {
    const build = this.pipeline.build.bind(this.pipeline);
    const endpoints = this.handlers.map((one) => endpointOf(one, build, this.database.source.manager));
    this.mounted = endpoints;
    for (const { consumer, duplicates } of endpoints) if (duplicates === 'redis') await this.claims.open(consumer);
    this.retry.start(endpoints);
    this.database.onReady(() => {
      if (this.closing) return;
      for (const endpoint of endpoints) this.consumers.push(this.consume(endpoint));
    });
  }

  /** The consumers of this app. Empty before the start, and with `consumers: false`. */
  get endpoints(): readonly Endpoint[] {
    return this.mounted;
  }

  /** Stops consuming and waits for the deliveries in work, while the database is still open for them. */
  async onModuleDestroy(): Promise<void> {
    this.closing ??= Promise.all(this.consumers.map((c) => c.stop(this.options.drainMs))).then(() => {});
    await this.closing;
  }

  private consume(endpoint: Endpoint): ConsumedQueue {
    const queue = queueOf(endpoint.consumer, endpoint.contract.version);
    const kind = endpoint.contract.replicated ? 'replicated' : 'work';
    const receiver = endpoint.duplicates === 'redis' ? this.onceByRedis : this.inbox;
    return this.broker.consume(queue, (delivery) => receiver.receive(delivery, endpoint), { kind });
  }

  /**
   * Not an error, because the class may belong to another instance of this app, such as a second worker from the same
   * source.
   */
  private warnOfUnmanaged(): void {
    const served = new Set(this.handlers.map(({ handle }) => handle.mark.contract));
    for (const { prototype, method, mark } of unmanagedHandlers(this.options.app))
      if (!served.has(mark.contract))
        this.logger.warn(
          `${decoratorOf(mark)} on ${prototype.constructor.name}.${method} is not mounted: no module lists the class; ` +
            'add it to `providers` or `controllers`, unless another instance handles this message',
        );
  }
}
