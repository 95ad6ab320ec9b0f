// The participants of the initiator's own app and database. Their calls need no message, and may join its commits.
import type { EntityManager } from 'typeorm';
import type { Sql } from '../core/database/sql-executor.js';
import { isOutcomeUnknown, isUnavailable } from '../core/errors/sql-errors.js';
import type { Call, Verdict } from './call-messages.js';

/** A row of the barrier has the place of a call, or another unique key of its packet exists. */
export class PlaceTaken extends Error {}

/** How far a call has come that joins a commit of the initiator. */
export type Progress = 'not begun' | 'running' | 'returned';

/**
 * Whether a commit of the initiator failed because of the call in it. A statement that the participant has deferred
 * travels with COMMIT, and its error rolls everything back.
 */
export function isOfCall(error: unknown, progress: Progress): boolean {
  return progress === 'running' || (progress === 'returned' && !isUnavailable(error));
}

/** Whether the answer to COMMIT was lost. One that is lost before it leaves nothing. */
export function isLostCommit(error: unknown, progress: Progress): boolean {
  return progress === 'returned' && isOutcomeUnknown(error);
}

/** The transaction of a call. */
export interface Joined {
  readonly tx: EntityManager;
  readonly sql: Sql;
  /** The answers to `directEntry`, if its statements were sent before. */
  readonly answers?: readonly unknown[] | undefined;
}

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
