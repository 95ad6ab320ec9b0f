import { isObservable, lastValueFrom } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { queueOf } from '../broker/message-contract.js';
import { sharingOf } from '../database/shared-transactions.js';
import { OptionsError, type Rejected } from '../errors/errors.js';
import type { Installation } from '../installation.js';
import { type Step, tracedStep } from '../traced-steps.js';
import { decoratorOf, type HandlerMark, MessageContext } from './consumer-decorators.js';
import type { FoundHandler } from './handler-discovery.js';
import type { DeliveryInfo, Endpoint, PayloadReader } from './incoming-message.js';
import type { Run } from './nest-pipeline.js';

/** The handlers of one consumer, by their role. */
export interface ConsumerHandlers {
  readonly consumer: string;
  readonly handle: FoundHandler;
  readonly reject: FoundHandler | undefined;
  readonly beforeAck: FoundHandler | undefined;
}

/** The app of a `DtxModule`, and those of the other ones in this application. */
type Apps = Pick<Installation, 'app' | 'otherApps'>;

type Group = { [role in HandlerMark['role']]?: FoundHandler } & { consumer: string };

/**
 * Groups the handlers of an app by consumer and version, which is one queue.
 * @throws OptionsError with class and method for a handler without a consumer in this app, a second handler, a consumer
 *   that two contracts name, and an `@OnRejected` or `@BeforeAck` without an `@OnMessage`
 */
export function groupByConsumer(handlers: readonly FoundHandler[], installation: Apps): ConsumerHandlers[] {
  const groups = new Map<string, Group>();
  for (const handler of handlers) {
    const { mark } = handler;
    const consumer = consumerOf(handler, installation);
    if (!consumer.startsWith(`${installation.app}.`)) continue;
    const queue = queueOf(consumer, mark.contract.version);
    const group = groups.get(queue) ?? { consumer };
    refuseSecond(handler, group, queue);
    group[mark.role] = handler;
    groups.set(queue, group);
  }
  return [...groups.values()].map(complete);
}

function refuseSecond(handler: FoundHandler, group: Group, queue: string): void {
  const { mark, name } = handler;
  const { consumer, handle, reject, 'before-ack': beforeAck } = group;
  const other = [handle, reject, beforeAck].find((one) => one && one.mark.contract.name !== mark.contract.name);
  if (other)
    throw new OptionsError(
      `consumer ${consumer} is named by two contracts: ${decoratorOf(other.mark)} on ${other.name} and ` +
        `${decoratorOf(mark)} on ${name} would share queue ${queue}; give each contract a consumer name of its own`,
    );
  const same = group[mark.role];
  if (same)
    throw new OptionsError(
      `consumer ${consumer} has two ${decoratorOf(mark)}: on ${same.name} and on ${name}; remove one`,
    );
}

function complete({ consumer, handle, reject, 'before-ack': beforeAck }: Group): ConsumerHandlers {
  if (!handle) {
    const { mark, name } = (reject ?? beforeAck)!;
    throw new OptionsError(
      `consumer ${consumer} has a ${decoratorOf(mark)} on ${name} but no @OnMessage(${mark.contract.name}); add one`,
    );
  }
  const duplicates = handle.mark.duplicates ?? 'inbox';
  if (beforeAck && duplicates !== 'inbox')
    throw new OptionsError(
      `consumer ${consumer} has a @BeforeAck on ${beforeAck.name} and uses duplicates: '${duplicates}'; @BeforeAck needs ` +
        `duplicates: 'inbox'`,
    );
  if (handle.mark.messagesPerTransaction && duplicates !== 'inbox')
    throw new OptionsError(
      `consumer ${consumer} has messagesPerTransaction on ${handle.name} and uses duplicates: '${duplicates}'; ` +
        `messagesPerTransaction needs duplicates: 'inbox'`,
    );
  // guard: keyed.redis
  if (handle.mark.contract.inOrderOf && duplicates !== 'inbox')
    throw new OptionsError(
      `consumer ${consumer} uses duplicates: '${duplicates}' on ${handle.name}, and ${handle.mark.contract.name} has ` +
        `inOrderOf; a late duplicate could run after its successor, so use duplicates: 'inbox'`,
    );
  return { consumer, handle, reject, beforeAck };
}

/** The consumer of a handler. It may be of another app in this application. */
function consumerOf({ mark, name }: FoundHandler, { app, otherApps }: Apps): string {
  const { contract, consumer } = mark;
  const apps = [app, ...otherApps];
  const here = contract.consumers.filter((one) => apps.some((of) => one.startsWith(`${of}.`)));
  const isNamed = (one: string) => one === consumer || apps.some((of) => one === `${of}.${consumer}`);
  const named = consumer ? here.filter(isNamed) : here;
  if (named.length === 1) return named[0]!;
  const what = `${decoratorOf(mark)} on ${name}: the contract`;
  const place = otherApps.length > 0 ? `apps ${apps.join(' and ')}` : `app ${app}`;
  if (here.length === 0)
    throw new OptionsError(
      `${what} has no consumer in ${place}, only ${contract.consumers.join(', ')}; add ${app}.<consumer> to its consumers`,
    );
  throw new OptionsError(`${what} has ${here.join(', ')} in this app; choose one with { consumer }`);
}

/**
 * The endpoint of a consumer. Each run of user code gets its own message and context.
 * @param bare a manager without a transaction, which calls that need one refuse
 */
export function endpointOf(
  { consumer, handle, reject, beforeAck }: ConsumerHandlers,
  build: (handler: FoundHandler) => Run,
  bare: EntityManager,
): Endpoint {
  const run = build(handle);
  const refuse = reject && build(reject);
  const finish = beforeAck && build(beforeAck);
  const queue = queueOf(consumer, handle.mark.contract.version);
  return {
    consumer,
    contract: handle.mark.contract,
    duplicates: handle.mark.duplicates ?? 'inbox',
    sharing: sharingOf(handle.mark.messagesPerTransaction),
    handle: async (tx, payload, info) =>
      tracedStep(stepOf('process', queue, info), () => call(run, payload(), new MessageContext(tx, { ...info }))),
    reject:
      refuse &&
      (async (tx: EntityManager, payload: PayloadReader, no: Rejected, info: DeliveryInfo) =>
        tracedStep(stepOf('reject', queue, info), () =>
          call(refuse, payload(), new MessageContext(tx, { ...info }, no)),
        )),
    beforeAck:
      finish &&
      (async (payload, info) =>
        tracedStep(stepOf('before-ack', queue, info), () =>
          call(finish, payload(), new MessageContext(bare, { ...info })),
        )),
  };
}

/** A run of user code for a message. Several runs of one message are several steps. */
function stepOf(operation: string, queue: string, { scheme, gid, messageId }: DeliveryInfo): Step {
  return { operation, target: queue, scheme, gid, messageId, isCausedByMessage: true };
}

/** @throws the error of the handler itself, independent of filters and interceptors */
async function call(run: Run, payload: unknown, context: MessageContext): Promise<void> {
  try {
    const result: unknown = await run(payload, context);
    if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
  } catch (error) {
    if (context.hasFailed) context.settle();
    throw error;
  }
  context.settle();
}
