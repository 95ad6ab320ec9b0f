/** The decorators for consumers: `@OnMessage`, `@OnRejected`, `@BeforeAck`, and the Nest context of a delivery. */
import 'reflect-metadata';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { isObservable, tap } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { mustBeContract } from '../broker/contract-argument.js';
import { type Contract } from '../broker/message-contract.js';
import { UNITS_MAX } from '../database/shared-transactions.js';
import { DtxError, OptionsError, type Rejected } from '../errors/errors.js';
import type { DeliveryInfo } from './incoming-message.js';

/** The metadata key of a handler. It is not the key of `@EventPattern`, so other transports do not mount the method. */
const HANDLES = 'nest-dtx:handles';

/**
 * The Nest context of a delivery, for interceptors, guards and filters.
 * @example
 *   const { delivery } = context.switchToRpc().getContext<MessageContext>();
 *   span.setAttribute('messaging.message.id', delivery.messageId);
 */
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

/** The arguments of one decorator of a method. */
export interface HandlerMark {
  readonly contract: Contract;
  readonly consumer: string | undefined;
  readonly duplicates?: 'inbox' | 'redis' | undefined;
  readonly messagesPerTransaction?: number | undefined;
  readonly role: 'handle' | 'reject' | 'before-ack';
}

/** A decorated method, by its prototype. */
export interface MarkedMethod {
  readonly prototype: object;
  readonly method: string;
  readonly mark: HandlerMark;
}

/** All decorated methods of this process, so that a start can name a class that no module lists. */
export const markedMethods: MarkedMethod[] = [];

/** The marks of a method. Empty for a method without a decorator of this file. */
export function marksOf(method: object): readonly HandlerMark[] {
  return Reflect.getMetadata(HANDLES, method) ?? [];
}

/** The decorator of a mark, as in source code. */
export function decoratorOf({ role, contract: { name, version } }: HandlerMark): string {
  return `@${DECORATORS[role]}(${name} v${version})`;
}

const DECORATORS = { handle: 'OnMessage', reject: 'OnRejected', 'before-ack': 'BeforeAck' } as const;

/** The options of `@OnMessage`. */
export interface HandlerOptions {
  /** The consumer of the contract, if this app has several. */
  consumer?: string;
  /**
   * The way to detect duplicates. `inbox` (default): an inbox row in the transaction of the effect. `redis`: cheaper, but a
   * message may be handled twice, so the effect must be idempotent.
   */
  duplicates?: 'inbox' | 'redis';
  /**
   * The largest number of waiting messages that one transaction handles, one after the other, 1 to 100. Default 1. They
   * share its packets and its COMMIT. After a failure of one, everything is rolled back, and each runs in a transaction of
   * its own. So the method runs again more often, and all its effects must be in `tx`.
   */
  messagesPerTransaction?: number;
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
 * Handles the messages of a contract: `(tx, message, delivery?)`, on a provider or a controller. Nest pipes, guards,
 * interceptors and filters of the class and the method apply. The inbox row and the method run in one local
 * transaction, `tx`. The receipt and the ack follow. `Rejected` is a definite business refusal.
 * Any other error is retried with backoff, and parked with one alert when the attempts are used up. While the database
 * is unavailable, the delivery waits without counting an attempt. docs/schemes/local-message.md shows the whole
 * protocol.
 * @example
 *   class Deduction { @OnMessage(orderPlaced) async deduct(tx: EntityManager, message: OrderPlaced) { ... } }
 */
export function OnMessage<P>(
  contract: Contract<P>,
  { consumer, duplicates, messagesPerTransaction }: HandlerOptions = {},
) {
  return <T extends (tx: EntityManager, message: P, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void =>
    mount(target, method, descriptor, { contract, consumer, duplicates, messagesPerTransaction, role: 'handle' });
}

/**
 * Handles the refusal of a message: `(tx, message, rejected, delivery?)`. Runs after the handler threw `Rejected` and
 * was rolled back, or when an operator rejects a parked delivery. Inbox row and refusal commit in one transaction.
 * @param consumer the consumer of the contract, if this app has several
 * @example
 *   class Deduction { @OnRejected(orderPlaced) async close(tx: EntityManager, message: OrderPlaced, no: Rejected) { ... } }
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
 *   class Printing { @BeforeAck(invoiceIssued) async print(message: InvoiceIssued) { await this.printer.enqueue(message); } }
 */
export function BeforeAck<P>(contract: Contract<P>, { consumer }: { consumer?: string } = {}) {
  return <T extends (message: P, delivery: DeliveryInfo) => unknown>(
    target: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => mount(target, method, descriptor, { contract, consumer, role: 'before-ack' });
}

const PARAMETERS: Record<HandlerMark['role'], ReadonlyArray<() => ParameterDecorator>> = {
  handle: [Tx, Payload, Info],
  reject: [Tx, Payload, RejectedReason, Info],
  'before-ack': [Payload, Info],
};

function mount<T>(
  target: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
  given: Omit<HandlerMark, 'contract'> & { contract: unknown },
): void {
  mustBeContract(given.contract, `the decorator of ${target.constructor.name}.${String(method)}`);
  const mark = given as HandlerMark;
  const marks = marksOf(descriptor.value as object);
  refuseUnusual(target, method, [...marks, mark]);
  const parameters = [...PARAMETERS[mark.role], Context];
  for (const [index, decorate] of parameters.entries()) decorate()(target, method, index);
  descriptor.value = noting(descriptor.value as Method, parameters.length - 1) as T;
  Reflect.defineMetadata(HANDLES, [...marks, mark], descriptor.value as object);
  markedMethods.push({ prototype: target, method: String(method), mark });
  // Replaces the method at once. The TypeScript compiler writes the descriptor back, but a manual decoration may not.
  Object.defineProperty(target, method, descriptor);
}

/** @throws OptionsError for a static method, a method named by a symbol, and decorators with different parameters */
function refuseUnusual(target: object, method: string | symbol, marks: readonly HandlerMark[]): void {
  const isStatic = typeof target === 'function';
  const type = isStatic ? target : target.constructor;
  const what = `${marks.map(decoratorOf).join(' and ')} on ${type.name}.${String(method)}`;
  if (isStatic) throw new OptionsError(`${what}: the method is static; use a method of the instance`);
  if (typeof method === 'symbol') throw new OptionsError(`${what}: the method is named by a symbol; use a text`);
  for (const { messagesPerTransaction: most } of marks)
    if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= UNITS_MAX))
      throw new OptionsError(`${what}: messagesPerTransaction must be an integer from 1 to ${UNITS_MAX}`);
  if (new Set(marks.map(({ role }) => role)).size > 1)
    throw new OptionsError(`${what}: the decorators pass different parameters; use one method for each`);
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
