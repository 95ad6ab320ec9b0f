import { DtxError, TransactionEnded } from '../errors/errors.js';
import { effectOf, isDuplicateKey, isPassing } from '../errors/sql-errors.js';
import { isOnSavepoint, Savepoints } from './savepoints.js';
import type { Statement } from './statement.js';
import type { Tap } from './tap.js';

/** Set with BEGIN, released with COMMIT: gone with whatever transaction it was set in. Nobody else takes these names. */
export const BEGUN = 'dtx_begun';
const PROBE = 'dtx_probe';
/** Flags in the server's answers (MySQL source documentation, "Status Flags"). */
const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

/**
 * What is known of a transaction on the server, from the server's own words: whether it is still the one that was begun.
 * The status in each answer tells at no cost whether one is open, the savepoint whether it is this one.
 */
export class Evidence {
  /** Why nothing more is let through: the deadlock itself, or what has ended the transaction. */
  failure: unknown;
  /** The first statement that has failed. */
  firstError: unknown;
  /** The first one that says nothing of the work: the server takes no writes, or lacks a resource. */
  passing: unknown;
  readonly savepoints = new Savepoints();
  private isDoubted = false;
  private needsSavepoint = false;
  /** As of the last answer that had one. */
  private status: number | undefined;

  constructor(private readonly tap: Tap) {}

  get isCommittedInPart(): boolean {
    return this.failure instanceof TransactionEnded && this.failure.isCommittedInPart;
  }

  /** The savepoint was set with the begin. */
  begun(): void {
    this.needsSavepoint = true;
    this.savepoints.add(BEGUN);
  }

  /** From now on the savepoint is there. @throws TransactionEnded when there is no transaction that it could be in */
  async demandSavepoint(): Promise<void> {
    this.needsSavepoint = true;
    await this.keepSavepoint();
    if (this.failure !== undefined) throw this.failure;
  }

  /** Sets the savepoint where it is missing: at first, or when it has gone with an older one of the user's. */
  async keepSavepoint(): Promise<void> {
    if (!this.needsSavepoint || this.failure !== undefined || this.savepoints.has(BEGUN)) return;
    const { serverStatus } = await this.tap.ask<Status>(`SAVEPOINT ${BEGUN}`);
    if ((serverStatus & IN_TRANSACTION) === 0) this.failure = inPart('it was over before');
    else this.savepoints.add(BEGUN);
  }

  /** The answer to a statement of the user's. */
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

  /** A statement has ended the transaction, as its text says. */
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

  /** @throws what has ended the transaction */
  async mustBeAlive({ everyErrorEnds }: { everyErrorEnds: boolean }): Promise<void> {
    if (this.isDoubted && this.failure === undefined) {
      // An error does not say whether it has ended the transaction. The answer to another statement does.
      if (((await this.ask()) & IN_TRANSACTION) === 0)
        this.failure = new TransactionEnded('a statement has failed and has rolled it back');
      this.isDoubted = false;
    }
    if (this.failure !== undefined) throw this.failure;
    // guard: transaction.every-error
    if (everyErrorEnds && this.firstError !== undefined && !isDuplicateKey(this.firstError)) throw this.firstError;
  }

  /** SET autocommit commits when it was off. */
  async hasAutocommit(): Promise<boolean> {
    this.status ??= await this.ask();
    return (this.status & AUTOCOMMIT) !== 0;
  }

  /** Before a statement whose inside cannot be seen. */
  async setProbe(): Promise<void> {
    await this.tap.ask(`SAVEPOINT ${PROBE}`);
  }

  /** After it: only the same transaction still has the savepoint that was set just before. */
  async takeProbe(what: string): Promise<void> {
    await this.tap.ask(`RELEASE SAVEPOINT ${PROBE}`).catch((error) => {
      if (effectOf(error) === 'no savepoint') this.failure ??= inPart(`${what} has ended it`);
      else this.failed(error);
    });
  }

  /** Sends a statement that releases BEGUN first. @throws TransactionEnded when BEGUN is gone */
  async confirm(statement: string): Promise<void> {
    await this.tap.ask(statement).catch((error) => {
      this.failed(error);
      if (effectOf(error) !== 'no savepoint') throw error;
      this.failure = inPart('the savepoint that was set at its begin is gone');
      throw this.failure;
    });
  }

  /** TypeORM's form of the error that has ended it, as the user's code knows errors. */
  rename(error: unknown): void {
    const { driverError } = error as { driverError?: unknown };
    if (driverError === undefined || driverError instanceof DtxError) return;
    if (this.failure === driverError) this.failure = error;
    if (this.firstError === driverError) this.firstError = error;
  }

  private async ask(): Promise<number> {
    return (await this.tap.ask<Status>('DO 0')).serverStatus;
  }
}

interface Status {
  readonly serverStatus: number;
}

/** What came before it may be committed, and what came after as well. */
function inPart(why: string): TransactionEnded {
  return new TransactionEnded(why, { isCommittedInPart: true });
}

/** In the answers of a statement, or of several: rows come without one. */
function statusesIn(result: unknown): Status[] {
  const all = Array.isArray(result) ? result : [result];
  return all.filter((one) => typeof one?.serverStatus === 'number' && 'affectedRows' in one);
}
