import type { z } from 'zod';
import { reserveConsumers } from '../core/broker/message-contract.js';
import { OptionsError } from '../core/errors/errors.js';

/**
 * The contract between the initiator and one participant of a TCC transaction. A breaking change gets a new `version`
 * beside the old one, since a running transaction ends with the version it began with.
 */
export interface Participant<Args = unknown> {
  /** `<app>.<name>`: the participating app, and the name of its part. */
  readonly name: string;
  readonly version: number;
  /** Applied to the JSON at the initiator and again at the participant. It must leave its own result unchanged. */
  readonly args: z.ZodType<Args>;
}

/** The arguments of a participant's three methods. */
export type ArgsOf<P> = P extends Participant<infer Args> ? Args : never;

reserveConsumers(/^tcc-/);

/** Suffix of names that collide with the answer queues of initiators. */
const RESERVED = /\.answers$/;

/**
 * Declares a participant. Both sides share the declaration.
 * @throws OptionsError for a malformed or reserved name, or an invalid version
 */
export function defineParticipant<S extends z.ZodType>(contract: {
  name: string;
  version: number;
  args: S;
}): Participant<z.output<S>> {
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
  return Object.freeze({ ...contract }) as Participant<z.output<S>>;
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
