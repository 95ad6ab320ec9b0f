/** The decorators for consumers: `@OnMessage`, `@OnRejected`, `@BeforeAck`, and the Nest context of a delivery. */
import 'reflect-metadata';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { isObservable, tap } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { typeOf } from '../broker/envelope.js';
import { type Contract } from '../broker/message-contract.js';
import { DtxError, type Rejected } from '../errors/errors.js';
import type { DeliveryInfo } from './incoming-message.js';

/** The transport of these handlers. In a hybrid application, other transports do not mount them. */
export const DTX_TRANSPORT = Symbol('dtx rabbitmq transport');

/** The Nest context of a delivery, for interceptors, guards and filters. */
export class MessageContext {
  private outcome: { failed: false } | { failed: true; error: unknown } | undefined;

  constructor(
    readonly tx: EntityManager,
    readonly delivery: DeliveryInfo,
    readonly rejected?: Rejected,
  ) {}

  /** Records the outcome of the method itself, before filters and interceptors. A failure is final. */
  note(error?: { error: unknown }): void {
    if (!this.outcome?.failed) this.outcome = error ? { failed: true, ...error } : { failed: false };
  }

  get hasFailed(): boolean {
    return this.outcome?.failed === true;
  }

  /**
   * Ends a handling with the outcome of its method. An interceptor or filter that swallows an error must not get half
   * of the work committed.
   * @throws the error of the method, or DtxError if the method did not run
   */
  settle(): void {
    if (this.outcome?.failed) throw this.outcome.error;
    if (this.outcome) return;
    throw new DtxError(
      `${this.delivery.consumer}: the handler did not run; a guard, pipe, filter or interceptor answered instead`,
    );
  }
}

/** The metadata of a mounted handler. */
export interface HandlerExtras {
  readonly contract: Contract;
  readonly consumer: string | undefined;
  readonly duplicates?: 'inbox' | 'redis' | undefined;
  readonly role: 'handle' | 'reject' | 'before-ack';
}

const contextValue = (pick: (context: MessageContext) => unknown) =>
  createParamDecorator((_: unknown, context: ExecutionContext) =>
    pick(context.switchToRpc().getContext<MessageContext>()),
  );

const Tx = contextValue((context) => context.tx);
const RejectedReason = contextValue((context) => context.rejected);
const Info = contextValue((context) => context.delivery);
const Context = contextValue((context) => context);

/**
 * Handles the messages of a contract: `(tx, message, delivery?)` on an ordinary Nest controller. The inbox row and the
 * method run in one local transaction, `tx`. The receipt and the ack follow. `Rejected` is a definite business refusal.
 * Any other error is retried with backoff, and parked with one alert when the attempts are used up. While the database
 * is unavailable, the delivery waits without counting an attempt. docs/schemes/local-message.md shows the whole
 * protocol.
 * @param consumer the consumer of the contract, if this app has several
 * @param duplicates the way to detect duplicates. `inbox` (default): an inbox row in the transaction of the effect.
 *   `redis`: cheaper, but a message may be handled twice, so the effect must be idempotent.
 * @example
 *   @OnMessage(orderPlaced)
 *   async deduct(tx: EntityManager, message: OrderPlaced) { ... }
 */
export function OnMessage<P>(
  contract: Contract<P>,
  { consumer, duplicates }: { consumer?: string; duplicates?: 'inbox' | 'redis' } = {},
) {
  return <T extends (tx: EntityManager, message: P, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => mount(target, method, descriptor, { contract, consumer, duplicates, role: 'handle' });
}

/**
 * Handles the refusal of a message: `(tx, message, rejected, delivery?)`. Runs after the handler threw `Rejected` and
 * was rolled back, or when an operator rejects a parked delivery. Inbox row and refusal commit in one transaction.
 */
export function OnRejected<P>(contract: Contract<P>, { consumer }: { consumer?: string } = {}) {
  return <T extends (tx: EntityManager, message: P, no: Rejected, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => mount(target, method, descriptor, { contract, consumer, role: 'reject' });
}

/**
 * Runs between the commit and the ack of a message: `(message, delivery?)`, without a transaction. Runs after the
 * commit of `@OnMessage` or `@OnRejected`, by a delivery, a retry or an operator, and again for every duplicate. So it
 * runs at least once. It reads the committed state from the database. While the broker is unavailable
 * (`BrokerUnavailable`), the delivery waits. Any other error is retried with backoff, and parked with one alert when
 * the attempts are used up. The retry does not repeat the business.
 * @example
 *   @BeforeAck(invoiceIssued)
 *   async print(message: InvoiceIssued) { await this.printer.enqueue(await this.invoiceOf(message)); }
 */
export function BeforeAck<P>(contract: Contract<P>, { consumer }: { consumer?: string } = {}) {
  return <T extends (message: P, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => mount(target, method, descriptor, { contract, consumer, role: 'before-ack' });
}

const PARAMETERS: Record<HandlerExtras['role'], ReadonlyArray<() => ParameterDecorator>> = {
  handle: [Tx, Payload, Info],
  reject: [Tx, Payload, RejectedReason, Info],
  'before-ack': [Payload, Info],
};

function mount<T>(
  target: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
  extras: Omit<HandlerExtras, 'contract'> & { contract: unknown },
): void {
  const parameters = [...PARAMETERS[extras.role], Context];
  for (const [index, decorate] of parameters.entries()) decorate()(target, method, index);
  descriptor.value = noting(descriptor.value as Method, parameters.length - 1) as T;
  // Replaces the method at once. The TypeScript compiler writes the descriptor back, but a manual decoration may not.
  Object.defineProperty(target, method, descriptor);
  const { name, version } = extras.contract as Contract;
  const pattern = `${typeOf({ name, version })}:${extras.consumer ?? ''}:${extras.role}`;
  EventPattern(pattern, DTX_TRANSPORT, extras as unknown as Record<string, unknown>)(
    target,
    method,
    descriptor as PropertyDescriptor,
  );
}

type Method = (...args: unknown[]) => unknown;

/**
 * Wraps the method so that it records its outcome in its context. Without a context, as in a unit test, it only calls
 * the method.
 */
function noting(method: Method, contextAt: number): Method {
  async function noted(this: unknown, ...args: unknown[]): Promise<unknown> {
    const context = args[contextAt] instanceof MessageContext ? (args[contextAt] as MessageContext) : undefined;
    try {
      const result = await method.apply(this, args.slice(0, contextAt));
      if (isObservable(result))
        return result.pipe(tap({ complete: () => context?.note(), error: (error) => context?.note({ error }) }));
      context?.note();
      return result;
    } catch (error) {
      context?.note({ error });
      throw error;
    }
  }
  // Copies the metadata of the decorators below this one.
  for (const key of Reflect.getMetadataKeys(method))
    Reflect.defineMetadata(key, Reflect.getMetadata(key, method), noted);
  return Object.defineProperty(noted, 'name', { value: method.name });
}
