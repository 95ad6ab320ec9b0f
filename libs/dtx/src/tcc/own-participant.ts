// The participants of the initiator's own app and database. Their calls need no message, and may join its commits.
import { Semaphore } from '../core/async/semaphore.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import type { Call, CallDetails, Calls, Verdict } from './participant-calls.js';
import type { Joined } from './run-phase.js';
import type { Branch } from './tcc-tables.js';

/** A call found no free place within its time limit. It was not begun. */
export class NoFreePlace extends OutcomeUnknown {}

export function semaphore(what: string, permits: number): Semaphore {
  return new Semaphore(permits, (ms) => new NoFreePlace(`${what} was not begun: no free place within ${ms} ms`));
}

/** A row of the barrier has the place of a call, or another unique key of its packet exists. */
export class PlaceTaken extends Error {}

/** A participant in this process. */
export interface OwnParticipant {
  /** Handles a call in a transaction of its own. @throws NoFreePlace */
  take(call: Call, timeoutMs: number): Promise<Verdict>;
  /** Waits for a place of the participant, then runs the work that includes the call. @throws NoFreePlace */
  inPlace<T>(call: Call, limitMs: number, work: () => Promise<T>): Promise<T>;
  /** Runs a call in the transaction of the initiator. @throws the reason for every answer but `ok` */
  join(call: Call, joined: Joined): Promise<void>;
  /** The answer to a joined call that was rolled back by this error. */
  failed(call: Call, error: unknown): Promise<Verdict>;
  /** The answer to a joined call, after the commit. */
  committed(call: Call): Promise<Verdict>;
}

/** A call of a participant in this process. */
export interface OwnCall {
  readonly call: Call;
  readonly participant: OwnParticipant;
  readonly name: string;
}

/** Answers of own participants by branch number. Each is asked for once. */
export type OwnAnswers = ReadonlyMap<number, () => Promise<Verdict>>;

/** The call of the first branch whose participant lives in this process. Only one branch joins a commit. */
export function firstOwn(calls: Calls, branches: readonly Branch[], about: CallDetails): OwnCall | undefined {
  for (const branch of branches) {
    const participant = calls.own(branch);
    if (participant) return { participant, call: calls.callOf(branch, about), name: branch.participant };
  }
  return undefined;
}
