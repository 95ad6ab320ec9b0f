import 'reflect-metadata';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { isObservable, tap } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { type Contract } from '../broker/contract.js';
import { typeOf } from '../broker/envelope.js';
import { DtxError, type Rejected } from '../errors/errors.js';
import type { DeliveryInfo } from './incoming-message.js';

/** The transport these handlers belong to: in a hybrid application no other transport mounts them. */
export const DTX_TRANSPORT = Symbol('dtx rabbitmq transport');

/** Nest's context object of a delivery: what interceptors, guards and filters see beside the payload. */
export class MessageContext {
  private outcome: { failed: false } | { failed: true; error: unknown } | undefined;

  constructor(
    readonly tx: EntityManager,
    readonly delivery: DeliveryInfo,
    readonly rejected?: Rejected,
  ) {}

  /** What the method itself has come to, whatever filters and interceptors make of it. A failure stays. */
  note(error?: { error: unknown }): void {
    if (!this.outcome?.failed) this.outcome = error ? { failed: true, ...error } : { failed: false };
  }

  get hasFailed(): boolean {
    return this.outcome?.failed === true;
  }

  /**
   * Ends a handling as its method has ended it: an interceptor or filter that swallows an error must not have half of the
   * work committed.
   * @throws what the method has thrown; DtxError when it has not run
   */
  settle(): void {
    if (this.outcome?.failed) throw this.outcome.error;
    if (this.outcome) return;
    throw new DtxError(
      `${this.delivery.consumer}: the handler has not run, a guard, pipe, filter or interceptor has answered for it`,
    );
  }
}

/** What the transport finds on a mounted handler. */
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
 * Handles a contract's messages: `(tx, message, delivery?)` on an ordinary Nest controller. Inbox row and method run
 * in one local transaction, `tx`; then the receipt is sent, then the delivery is acked (seed: 本地消息表 3, 4). Throw
 * `Rejected` for a business no; any other error is retried with backoff and parked with one alert in the end.
 * @param consumer which of the contract's consumers in this app it is, where there are several
 * @param duplicates how they are known: by an inbox row in the transaction of the effect (the default), or by Redis,
 *   which is cheaper and may let the same message through twice: only for effects that bear it
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
 * The refusal path of a consumer: `(tx, message, no, delivery?)`, run after its handler threw `Rejected` (and was rolled
 * back) or when a person rejects a parked delivery. Inbox row and refusal are one transaction.
 */
export function OnRejected<P>(contract: Contract<P>, { consumer }: { consumer?: string } = {}) {
  return <T extends (tx: EntityManager, message: P, no: Rejected, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => mount(target, method, descriptor, { contract, consumer, role: 'reject' });
}

/**
 * What a consumer does between its commit and the ack: `(message, delivery?)`, without a transaction, after `@OnMessage`
 * or `@OnRejected` was committed, whether by the broker's delivery, a later retry or a person, and again for every
 * duplicate. So it happens at least once; it finds out from the database what was committed. While the broker is away
 * (`BrokerUnavailable`) the delivery waits; any other error is retried with backoff and parked with one alert in the
 * end, without touching the business again.
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
  // At once: the compiler writes the descriptor back, and who decorates by hand may not.
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

/** The method, which tells its context what has become of it. Called without one, by a test of the user's, it is itself. */
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
  // What decorators below this one have said of the method.
  for (const key of Reflect.getMetadataKeys(method))
    Reflect.defineMetadata(key, Reflect.getMetadata(key, method), noted);
  return Object.defineProperty(noted, 'name', { value: method.name });
}
