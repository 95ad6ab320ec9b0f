import { asyncContext } from '../async/async-context.js';
import { DtxError, OutcomeUnknown, TransactionEnded, textOf } from '../errors/errors.js';
import {
  effectOf,
  errnoOf,
  isBusy,
  isCondemned,
  isDuplicateKey,
  isPassing,
  SERVER_ERRNO_MIN,
} from '../errors/sql-errors.js';
import { isOnSavepoint, Savepoints } from './hooks-by-savepoint.js';
import type { Tap } from './intercepted-connection.js';
import { type BoundStatement, explains, failedAt } from './packet.js';
import { Parted } from './parted-transaction.js';
import type { Statement } from './statement-effect.js';

/** The savepoint that identifies the transaction: set with BEGIN, released with COMMIT. Its name is reserved. */
export const BEGUN = 'dtx_begun';
const PROBE = 'dtx_probe';
/** Status flags in the answers of the server (MySQL source documentation, "Status Flags"). */
const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

/** A statement that waits for the next packet of its transaction. */
export interface HeldStatement extends BoundStatement {
  readonly isUsers?: true;
  /** Throws the error to report in place of an error of this statement. */
  readonly explain?: ((error: unknown) => never) | undefined;
}

/**
 * Tracks from the answers of the server whether the open transaction is still the original one. The status flag in each
 * answer shows whether any transaction is open. The savepoint BEGUN shows whether it is the original one. A statement of
 * the user may end it and begin another, and the rows of the library would then commit without the business.
 */
export class Evidence {
  /** The reason why further statements are rejected: the deadlock, or the statement that ended the transaction. */
  failure: unknown;
  /** The error of the first failed statement. */
  firstError: unknown;
  /** The first error outside the work, such as a read-only server or a full disk. */
  passing: unknown;
  readonly savepoints = new Savepoints();
  /** An error left it open whether the transaction ended. `lookAgain` decides. */
  isDoubted = false;
  /** Other units share the transaction. A statement that may commit a part of it is refused, and each runs by itself. */
  isShared = false;
  /** COMMIT was sent, and no answer of the server says that it did not commit. */
  mayBeCommitted = false;
  private needsSavepoint = false;
  /** The status flags of the last answer that had them. */
  private status: number | undefined;

  constructor(private readonly tap: Tap) {}

  get isCommittedInPart(): boolean {
    return this.failure instanceof TransactionEnded && this.failure.isCommittedInPart;
  }

  /** Notes that the savepoint was set with the begin. */
  begun(): void {
    this.needsSavepoint = true;
    this.savepoints.add(BEGUN);
  }

  /** Requires the savepoint from now on. @throws TransactionEnded if no transaction is open */
  async demandSavepoint(): Promise<void> {
    this.needsSavepoint = true;
    await this.keepSavepoint();
    if (this.failure !== undefined) throw this.failure;
  }

  /** Whether the savepoint is missing: at first, or after a rollback to an older savepoint of the user. */
  get lacksSavepoint(): boolean {
    return this.needsSavepoint && this.failure === undefined && !this.savepoints.has(BEGUN);
  }

  async keepSavepoint(): Promise<void> {
    if (!this.lacksSavepoint) return;
    const { serverStatus } = await this.tap.ask<Status>(`SAVEPOINT ${BEGUN}`);
    if ((serverStatus & IN_TRANSACTION) === 0) this.failure = inPart('it had ended before');
    else this.savepoints.add(BEGUN);
  }

  /** Evaluates the answer to a statement of the user. */
  note(statement: Statement, error: unknown, result: unknown): void {
    if (error) {
      this.failed(error);
      return;
    }
    for (const { serverStatus } of statusesIn(result)) {
      this.status = serverStatus;
      if ((serverStatus & IN_TRANSACTION) === 0) this.ended(statement);
    }
    if (isOnSavepoint(statement)) this.savepoints.follow(statement);
  }

  /** Notes that a statement ended the transaction, according to its text. */
  ended(statement: Statement): void {
    this.failure ??= inPart(`${'what' in statement ? statement.what : 'a statement'} has ended it`);
  }

  failed(error: unknown): void {
    this.firstError ??= error;
    if (isPassing(error)) this.passing ??= error;
    const effect = effectOf(error);
    if (effect === 'ended') this.failure ??= error;
    else if (effect !== 'none') this.isDoubted = true;
  }

  /** Asks whether the transaction ended. The error did not show it. The status flag of another answer does. */
  async lookAgain(): Promise<void> {
    if (this.failure === undefined && ((await this.ask()) & IN_TRANSACTION) === 0)
      this.failure = new TransactionEnded('a failed statement has rolled it back');
    this.isDoubted = false;
  }

  /** Call `lookAgain` first if it is doubted. @throws the reason that ended the transaction */
  mustBeAlive({ everyErrorEnds }: { readonly everyErrorEnds?: boolean }): void {
    // guard: shared.late
    if (this.isShared && asyncContext().inside?.isOver)
      this.failure ??= new Parted('one has sent a statement after its end');
    if (this.failure !== undefined) throw this.failure;
    // guard: transaction.every-error
    if (everyErrorEnds && this.firstError !== undefined && !isDuplicateKey(this.firstError)) throw this.firstError;
  }

  /** Whether autocommit is on. SET autocommit commits if it was off. */
  async hasAutocommit(): Promise<boolean> {
    this.status ??= await this.ask();
    return (this.status & AUTOCOMMIT) !== 0;
  }

  /** Sets a probe savepoint before a statement with unknown content. */
  async setProbe(): Promise<void> {
    // guard: shared.opaque
    if (this.isShared) this.failure = new Parted('one has sent a statement that may commit a part');
    if (this.failure !== undefined) throw this.failure;
    await this.tap.ask(`SAVEPOINT ${PROBE}`);
  }

  /** Releases the probe savepoint. It exists only in the same transaction. */
  async takeProbe(what: string): Promise<void> {
    await this.tap.ask(`RELEASE SAVEPOINT ${PROBE}`).catch((error) => {
      if (effectOf(error) === 'no savepoint') this.failure ??= inPart(`${what} has ended it`);
      else this.failed(error);
    });
  }

  /**
   * Sends statements behind the release of BEGUN, in one packet. The server runs none of them if BEGUN is missing, so no
   * row of the library commits alone. Returns all answers of the packet.
   * @param of `before`: the begin and everything behind it, for a transaction that was not sent yet. `limitMs`: the time
   *   limit of the packet, or 0
   * @throws TransactionEnded if BEGUN is missing
   */
  async confirm(
    statements: readonly HeldStatement[],
    { before = [], limitMs }: { before?: readonly HeldStatement[]; limitMs: number },
  ): Promise<unknown[]> {
    // guard: transaction.check-first
    const all = [...before, { sql: `RELEASE SAVEPOINT ${BEGUN}` }, ...statements];
    try {
      const answer = await this.tap.askTogether(all, limitMs);
      return Array.isArray(answer) ? answer : [answer];
    } catch (error) {
      const at = failedAt(error) ?? before.length;
      // guard: transaction.commit-answer
      this.mayBeCommitted = all.at(-1)!.sql === 'COMMIT' && !isRefused(error, at < all.length - 1);
      if (at !== before.length) throw this.heldFailed(error, all[at]);
      this.failed(error);
      if (effectOf(error) !== 'no savepoint') throw error;
      this.failure = inPart('its savepoint dtx_begun is missing');
      throw this.failure;
    }
  }

  /** Undoes early committed rows, which are still leased to this process. */
  async undoEarly(): Promise<void> {
    for (const { afterEarlyCommit } of this.savepoints.takeDependents()) {
      await afterEarlyCommit?.().catch((error) => {
        const known = `${textOf(this.failure)}; its message may be sent, as it was committed early and is not undone: ${textOf(error)}`;
        this.failure = new OutcomeUnknown(known, { cause: this.failure });
      });
    }
  }

  /** Notes the error of a statement that waited, and returns the reason that ends the transaction. */
  heldFailed(error: unknown, statement: HeldStatement | undefined): unknown {
    this.failed(error);
    // The error carries the text of the whole packet.
    if (statement) Object.assign(error as object, { sql: statement.sql });
    // guard: transaction.held-failed
    this.failure = explained(error, statement);
    explains(this.failure, error);
    return this.failure;
  }

  /** Replaces the stored driver error by the error of TypeORM, which user code sees. */
  rename(error: unknown): void {
    const driverError = (error as { driverError?: unknown } | null | undefined)?.driverError;
    if (driverError === undefined || driverError instanceof DtxError) return;
    if (this.failure === driverError) this.failure = error;
    if (this.firstError === driverError) this.firstError = error;
  }

  private async ask(): Promise<number> {
    return (await this.tap.ask<Status>('DO 0')).serverStatus;
  }
}

/**
 * Whether the server has answered that it did not commit. The numbers from 2000 to 2999 belong to clients, such as a proxy
 * in between (MySQL manual, "Error Message Sources and Elements").
 */
function isRefused(error: unknown, isBeforeCommit: boolean): boolean {
  const errno = errnoOf(error);
  if (isBeforeCommit) return errno >= SERVER_ERRNO_MIN && (errno < 2_000 || errno >= 3_000);
  return isBusy(error) || isCondemned(error);
}

interface Status {
  readonly serverStatus: number;
}

/** Earlier and later statements may be committed. */
function inPart(why: string): TransactionEnded {
  return new TransactionEnded(why, { isCommittedInPart: true });
}

/** Returns the status flags in the answers of one or several statements. Rows have none. */
function statusesIn(result: unknown): Status[] {
  const all = Array.isArray(result) ? result : [result];
  return all.filter((one) => typeof one?.serverStatus === 'number' && 'affectedRows' in one);
}

/** The error of a failed statement, as its sender explains it. */
function explained(error: unknown, statement: HeldStatement | undefined): unknown {
  try {
    statement?.explain?.(error);
    return error;
  } catch (known) {
    return known;
  }
}
