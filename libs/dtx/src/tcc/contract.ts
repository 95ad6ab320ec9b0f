import type { z } from 'zod';
import { reserveConsumers } from '../core/broker/contract.js';
import { OptionsError } from '../core/errors/errors.js';

/**
 * What the initiator and one participant of a TCC transaction agree on. A breaking change is a new `version` beside
 * the old one: a transaction that is under way ends with the version it began with.
 */
export interface Participant<Args = unknown> {
  /** `<app>.<name>`: the app that takes part, and as what. */
  readonly name: string;
  readonly version: number;
  /** Applied at the initiator and once more at the participant, to the JSON: it must leave its own result as it is. */
  readonly args: z.ZodType<Args>;
}

/** The arguments of a participant's three methods. */
export type ArgsOf<P> = P extends Participant<infer Args> ? Args : never;

reserveConsumers(/^tcc-/);

/** The queues in which initiators get their answers begin with it. */
const RESERVED = /\.answers$/;

/** Declares a participant, shared by both sides. @throws OptionsError when the name is malformed or the library's own */
export function defineParticipant<S extends z.ZodType>(contract: {
  name: string;
  version: number;
  args: S;
}): Participant<z.output<S>> {
  if (!/^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/.test(contract.name)) {
    throw new OptionsError(`TCC participant ${contract.name}: a name is <app>.<name>`);
  }
  if (RESERVED.test(contract.name)) {
    throw new OptionsError(
      `TCC participant ${contract.name}: answers have the queues of this name: choose another one`,
    );
  }
  if (!Number.isInteger(contract.version) || contract.version < 1) {
    throw new OptionsError(`TCC participant ${contract.name}: version is 1, 2, ...`);
  }
  return Object.freeze({ ...contract }) as Participant<z.output<S>>;
}

/** The queue in which a participant gets its calls. */
export function callQueueOf({ name, version }: Pick<Participant, 'name' | 'version'>): string {
  return `dtx.${name.replace('.', '.tcc-')}.v${version}`;
}

/**
 * The queue in which a participant gets Confirm and Cancel, so that they never wait behind its Tries. A participant of the
 * version before has none: its initiators send all calls to the other queue, which each version consumes for every phase.
 */
export function secondQueueOf({ name, version }: Pick<Participant, 'name' | 'version'>): string {
  return `dtx.${name.replace('.', '.tcc-')}.second.v${version}`;
}

/** The queue in which one process of an initiator gets its answers. */
export function answerQueueOf(app: string, processId: string): string {
  return `dtx.${app}.tcc-answers.${processId}`;
}

/** Whether a queue is one in which an initiator gets its answers. */
export function isAnswerQueue(queue: string): boolean {
  return /^dtx\.[a-z][a-z0-9-]{0,31}\.tcc-answers\.[0-9a-f-]{36}$/.test(queue);
}
