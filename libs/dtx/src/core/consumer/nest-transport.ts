import {
  Catch,
  type ExceptionFilter,
  type INestApplication,
  Inject,
  Injectable,
  OnModuleDestroy,
} from '@nestjs/common';
import { type CustomTransportStrategy, type MessageHandler, Server } from '@nestjs/microservices';
import { isObservable, lastValueFrom, type Observable, throwError } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { Broker } from '../broker/broker.service.js';
import { queueOf } from '../broker/message-contract.js';
import type { QueueConsumer } from '../broker/queue-consumer.js';
import { Database } from '../database/database.service.js';
import { OptionsError, type Rejected } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { Installation } from '../installation.js';
import type { CoreOptions } from '../options.js';
import { type Step, tracedStep } from '../traced-steps.js';
import { DTX_TRANSPORT, type HandlerExtras, MessageContext } from './consumer-decorators.js';
import { Inbox } from './handle-by-inbox.js';
import { OnceByRedis } from './handle-by-redis.js';
import { InboxRetry } from './inbox-retry.js';
import type { DeliveryInfo, Endpoint, PayloadReader } from './incoming-message.js';
import { RedisClaims } from './redis-claims.js';

/**
 * The Nest microservice transport for RabbitMQ. Handlers are ordinary controller methods with pipes, guards,
 * interceptors and filters. The inbox around them provides the transaction, the receipt and the ack. Consuming starts
 * when the database is ready, and attaches whenever the broker is available.
 */
@Injectable()
export class DtxTransport extends Server implements CustomTransportStrategy, OnModuleDestroy {
  override readonly transportId = DTX_TRANSPORT;
  /** The inbox handles every failure, so Nest need not log it. (Nest 12. Nest 11 has no such field.) */
  override readonly propagatesEventHandlerErrors = true;
  private readonly consumers: QueueConsumer[] = [];
  private closing: Promise<void> | undefined;

  constructor(
    private readonly broker: Broker,
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly retry: InboxRetry,
    private readonly onceByRedis: OnceByRedis,
    private readonly claims: RedisClaims,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
    private readonly installation: Installation,
  ) {
    super();
  }

  listen(callback: (error?: unknown) => void): void {
    this.start().then(() => callback(), callback);
  }

  /** Stops consuming and waits for the deliveries in work. */
  async close(): Promise<void> {
    this.closing ??= Promise.all(this.consumers.map((c) => c.stop(this.options.drainMs))).then(() => {});
    await this.closing;
  }

  /** Runs before Nest closes the transports, while the database is still open for the deliveries in work. */
  async onModuleDestroy(): Promise<void> {
    await this.close();
  }

  override on(): never {
    throw new OptionsError(
      'DtxTransport.on is not supported: it emits no events; remove the call, and read /health/ready instead',
    );
  }

  override unwrap<T>(): T {
    return this.broker as T;
  }

  private async start(): Promise<void> {
    const endpoints = endpointsOf(this.messageHandlers, this.installation, this.database.source.manager);
    for (const { consumer, duplicates } of endpoints) if (duplicates === 'redis') await this.claims.open(consumer);
    this.retry.start(endpoints);
    this.database.onReady(() => {
      if (this.closing) return;
      for (const endpoint of endpoints) this.consumers.push(this.consume(endpoint));
    });
  }

  private consume(endpoint: Endpoint): QueueConsumer {
    const queue = queueOf(endpoint.consumer, endpoint.contract.version);
    const kind = endpoint.contract.replicated ? 'replicated' : 'work';
    const receiver = endpoint.duplicates === 'redis' ? this.onceByRedis : this.inbox;
    return this.broker.consume(queue, (delivery) => receiver.receive(delivery, endpoint), { kind });
  }
}

/** Rethrows the error of a handler. Without this filter, Nest would replace `Rejected` by "Internal server error". */
@Catch()
class PassOn implements ExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}

/** The methods of a hybrid application's microservice beside its public interface. The same in Nest 11.1 and 12. */
interface DeferredMicroservice {
  useGlobalFilters(filter: ExceptionFilter): void;
  registerListeners(): void;
  setIsInitialized(is: boolean): void;
  setIsInitHookCalled(is: boolean): void;
}

/**
 * Adds the RabbitMQ transport to an application, before `startAllMicroservices()`. Handlers are mounted after the
 * filter is in place. Nest would mount them on connecting, with its own filter that hides errors. A global filter runs
 * last, so filters of the user run first. An application with several `DtxModule`s gets a transport for each.
 * @throws OptionsError for a Nest version before 11.1, which cannot defer the mounting
 */
export function connectDtx(app: INestApplication): void {
  const transports = app.get<DtxTransport, DtxTransport>(DtxTransport, { strict: false, each: true });
  for (const transport of transports) connect(app, transport);
}

function connect(app: INestApplication, transport: DtxTransport): void {
  const connected = app.connectMicroservice({ strategy: transport }, { deferInitialization: true });
  if (transport.getHandlers().size > 0) throw new OptionsError('connectDtx failed: it needs Nest 11.1 or newer');
  const microservice = connected as unknown as DeferredMicroservice;
  microservice.useGlobalFilters(new PassOn());
  microservice.registerListeners();
  microservice.setIsInitialized(true);
  microservice.setIsInitHookCalled(true);
}

/**
 * Collects the consumers of this app. @throws OptionsError for a handler that is missing, doubled or not among the
 * consumers of its contract
 */
function endpointsOf(
  handlers: Map<string, MessageHandler>,
  installation: Installation,
  bare: EntityManager,
): Endpoint[] {
  const found = new Map<
    string,
    { [role in HandlerExtras['role']]?: MessageHandler } & { extras: HandlerExtras; consumer: string }
  >();
  for (const handler of handlers.values()) {
    const extras = handler.extras as unknown as HandlerExtras;
    const consumer = consumerOf(extras, installation);
    if (!consumer.startsWith(`${installation.app}.`)) continue;
    const key = queueOf(consumer, extras.contract.version);
    const entry = found.get(key) ?? { extras, consumer };
    if (handler.next || entry[extras.role])
      throw new OptionsError(`consumer ${consumer} has two handlers for ${extras.contract.name}; remove one`);
    entry[extras.role] = handler;
    found.set(key, entry);
  }
  return [...found.values()].map(({ handle, reject, 'before-ack': beforeAck, extras, consumer }) => {
    if (!handle) {
      const other = reject ? '@OnRejected' : '@BeforeAck';
      throw new OptionsError(
        `consumer ${consumer} has an ${other} for ${extras.contract.name} but no @OnMessage; add one`,
      );
    }
    const { duplicates = 'inbox' } = handle.extras as unknown as HandlerExtras;
    if (beforeAck && duplicates !== 'inbox')
      throw new OptionsError(
        `consumer ${consumer} has a @BeforeAck and uses duplicates: '${duplicates}'; @BeforeAck needs duplicates: 'inbox'`,
      );
    const queue = queueOf(consumer, extras.contract.version);
    return {
      consumer,
      contract: extras.contract,
      duplicates,
      // Each run of user code gets its own message and context.
      handle: async (tx, payload, info) =>
        tracedStep(stepOf('process', queue, info), () => call(handle, payload(), new MessageContext(tx, { ...info }))),
      reject:
        reject &&
        (async (tx: EntityManager, payload: PayloadReader, no: Rejected, info: DeliveryInfo) =>
          tracedStep(stepOf('reject', queue, info), () =>
            call(reject, payload(), new MessageContext(tx, { ...info }, no)),
          )),
      // The bare manager has no transaction. Calls that need one reject it.
      beforeAck:
        beforeAck &&
        (async (payload, info) =>
          tracedStep(stepOf('before-ack', queue, info), () =>
            call(beforeAck, payload(), new MessageContext(bare, { ...info })),
          )),
    };
  });
}

/** A run of user code for a message. Several runs of one message are several steps. */
function stepOf(operation: string, queue: string, { scheme, gid, messageId }: DeliveryInfo): Step {
  return { operation, target: queue, scheme, gid, messageId, isCausedByMessage: true };
}

/** The consumer of a handler. It may be of another app in this application. */
function consumerOf({ contract, consumer }: HandlerExtras, { app, otherApps }: Installation): string {
  const apps = [app, ...otherApps];
  const here = contract.consumers.filter((name) => apps.some((one) => name.startsWith(`${one}.`)));
  const isNamed = (name: string) => name === consumer || apps.some((one) => name === `${one}.${consumer}`);
  const named = consumer ? here.filter(isNamed) : here;
  if (named.length === 1) return named[0]!;
  const place = otherApps.length > 0 ? `apps ${apps.join(' and ')}` : `app ${app}`;
  const choice =
    here.length === 0
      ? `has no consumer in ${place}`
      : `has ${here.join(', ')} in this app; choose one with { consumer }`;
  throw new OptionsError(`@OnMessage(${contract.name} v${contract.version}): the contract ${choice}`);
}

/** @throws the error of the handler itself, independent of filters and interceptors */
async function call(handler: MessageHandler, payload: unknown, context: MessageContext): Promise<void> {
  try {
    const result: unknown = await handler(payload, context);
    if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
  } catch (error) {
    if (context.hasFailed) context.settle();
    throw error;
  }
  context.settle();
}
