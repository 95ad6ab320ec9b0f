import { reserveConsumers } from '../core/broker/message-contract.js';
import { mustBeSchema, type OutputOf, type StandardSchema } from '../core/broker/schema.js';
import { OptionsError } from '../core/errors/errors.js';

/**
 * The contract between the initiator and one participant of a TCC transaction. A breaking change gets a new `version`
 * beside the old one, since a running transaction ends with the version it began with.
 */
export interface Participant<Args = unknown, Result = unknown> {
  /** `<app>.<name>`: the participating app, and the name of its part. */
  readonly name: string;
  readonly version: number;
  /**
   * The schema of the arguments, of any library with Standard Schema v1. Applied to the JSON at the initiator and again at
   * the participant. It must leave its own result unchanged.
   */
  readonly args: StandardSchema<unknown, Args>;
  /**
   * The schema of the result of Try, with the same rules. Applied when Try returns, and to the stored result for Confirm
   * and Cancel (`branch.data`). Without it, Try may return any JSON or nothing.
   */
  readonly result?: StandardSchema<unknown, Result> | undefined;
}

/** The arguments of a participant's three methods. */
export type ArgsOf<P> = P extends Participant<infer Args, infer _Result> ? Args : never;

reserveConsumers(/^tcc-/);

/** Suffix of names that collide with the answer queues of initiators. */
const RESERVED = /\.answers$/;

/**
 * Declares a participant. Both sides share the declaration.
 * @throws OptionsError for a malformed or reserved name, an invalid version, or a schema without the Standard Schema
 *   interface
 * @example
 *   export const fundsContract = defineParticipant({
 *     name: 'payment.funds', version: 1, args: z.object({ orderId: z.string(), amount: z.int() }),
 *   });
 */
export function defineParticipant<S extends StandardSchema, R extends StandardSchema = StandardSchema>(contract: {
  name: string;
  version: number;
  args: S;
  result?: R;
}): Participant<OutputOf<S>, OutputOf<R>> {
  if (!/^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/.test(contract.name)) {
    throw new OptionsError(
      `malformed name of a TCC participant: "${contract.name}"; use <app>.<name>, each of 1 to 32 characters: ` +
        'a-z, 0-9 and -, a letter first',
    );
  }
  if (RESERVED.test(contract.name)) {
    throw new OptionsError(
      `reserved name of a TCC participant: "${contract.name}"; <app>.answers is the queue of answers, use another one`,
    );
  }
  if (!Number.isInteger(contract.version) || contract.version < 1) {
    throw new OptionsError(`invalid version of TCC participant ${contract.name}: ${contract.version}; use 1, 2, ...`);
  }
  mustBeSchema(contract.args, `TCC participant ${contract.name}: args`);
  if (contract.result !== undefined) mustBeSchema(contract.result, `TCC participant ${contract.name}: result`);
  return Object.freeze({ ...contract }) as Participant<OutputOf<S>, OutputOf<R>>;
}

/** The queue of a participant's calls. */
export function callQueueOf({ name, version }: Pick<Participant, 'name' | 'version'>): string {
  return `dtx.${name.replace('.', '.tcc-')}.v${version}`;
}

/**
 * The queue of Confirm and Cancel, which therefore never wait behind Tries. A participant of the version before has
 * none. Its initiators send all calls to the other queue, which every version consumes for every phase.
 */
export function secondQueueOf({ name, version }: Pick<Participant, 'name' | 'version'>): string {
  return `dtx.${name.replace('.', '.tcc-')}.second.v${version}`;
}

/** The queue of answers for one process of an initiator. */
export function answerQueueOf(app: string, processId: string): string {
  return `dtx.${app}.tcc-answers.${processId}`;
}

/** Whether a queue is an answer queue of an initiator. */
export function isAnswerQueue(queue: string): boolean {
  return /^dtx\.[a-z][a-z0-9-]{0,31}\.tcc-answers\.[0-9a-f-]{36}$/.test(queue);
}
