import { DtxError, OutcomeUnknown, TransactionEnded, textOf } from '../errors/errors.js';
import { BEGUN, Evidence } from './evidence.js';
import type { SqlValue } from './literal.js';
import type { Changed, Done, Gate, Row } from './raw-connection.js';
import { type Dependent, type Hook, isOnSavepoint } from './savepoints.js';
import type { Sql } from './sql.js';
import { countStatements, type Statement, statementOf } from './statement.js';
import type { Tap } from './tap.js';

export interface ScopeOptions {
  /** Several statements in one query, as the user's DataSource allows it or not. */
  readonly allowsSeveral: boolean;
  /** The library has begun it, on a session of its own. */
  readonly isLibrarys: boolean;
  /** A statement of the user's that fails, swallowed or not, is the end of it; only a duplicate key may still be looked at. */
  readonly everyErrorEnds?: boolean;
}

/** `watching`: a user's transaction that the library has no part in yet. Nothing about it is changed. */
export type ScopeState = 'watching' | 'guarding' | 'committed' | 'rolled back';

type Answer = [error: unknown, result?: unknown, fields?: unknown];

/**
 * One open transaction, which is committed as the one that was begun or not at all. A deadlock, DDL, or a COMMIT by hand
 * ends it on the server, and what comes after would be committed alone, statement by statement. So statements that end a
 * transaction are refused before they are sent, and once one has ended all the same, nothing more is let through.
 * While it is guarding, statements are sent one after the other: none is under way when another ends the transaction.
 */
export class TransactionScope implements Gate, Sql {
  state: ScopeState = 'watching';
  /** The user's statements have changed the session: it must not serve another transaction. */
  isAltered = false;
  /** TypeORM itself is at work: COMMIT and ROLLBACK are its own. */
  protocol: 'commit' | 'rollback' | undefined;
  readonly evidence: Evidence;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly tap: Tap,
    private readonly options: ScopeOptions,
  ) {
    this.evidence = new Evidence(tap);
  }

  get failure(): unknown {
    return this.evidence.failure;
  }

  get isOver(): boolean {
    return this.state === 'committed' || this.state === 'rolled back';
  }

  /** From now on nothing ends this transaction unnoticed. @throws what has ended it already */
  async guard({ withSavepoint }: { withSavepoint: boolean }): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    if (this.state === 'watching') this.state = 'guarding';
    if (this.state !== 'guarding') throw new DtxError(`this transaction is ${this.state}`);
    if (withSavepoint) await this.inTurn(() => this.evidence.demandSavepoint());
  }

  /** The library has begun the transaction itself. */
  begun({ withSavepoint }: { withSavepoint: boolean }): void {
    this.state = 'guarding';
    if (withSavepoint) this.evidence.begun();
  }

  depend(dependent: Dependent): void {
    this.evidence.savepoints.depend(dependent);
  }

  /** The hooks of a transaction that is committed, once. */
  takeHooks(): Hook[] {
    const dependents = this.evidence.savepoints.takeDependents();
    return dependents.flatMap(({ afterCommit }) => (afterCommit ? [afterCommit] : []));
  }

  /** A statement of the library's own, in turn with the user's. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.inTurn(async () => {
      // guard: transaction.own-statement
      if (this.state !== 'watching') await this.mustBeAlive();
      return this.tap.ask<T>(statement, values).catch((error) => {
        this.evidence.failed(error);
        throw error;
      });
    });
  }

  pass(text: string, send: (done: Done) => void, done: Done): void {
    // guard: transaction.statement
    if (this.state === 'watching') {
      send((error, result, fields) => {
        // guard: transaction.watched
        this.watched(statementOf(text), error, result);
        done(error, result, fields);
      });
      return;
    }
    const answered = this.inTurn(() => this.run(text, send)).catch((error): Answer => [error]);
    void answered.then((answer) => done(...answer));
  }

  mayRelease(): boolean {
    if (this.state !== 'guarding') return true;
    this.evidence.failure ??= new TransactionEnded('its connection was released');
    // An open transaction in the pool would be committed by the next one that begins there.
    if (!this.options.isLibrarys) this.tap.connection.destroy();
    return false;
  }

  /** Resolves when everything that was asked for is answered. */
  async settled(): Promise<void> {
    for (let turn: unknown; turn !== this.turn; ) {
      turn = this.turn;
      await turn;
    }
  }

  /**
   * COMMIT, once the server has confirmed by the savepoint that this is the transaction that was begun.
   * @throws what has ended it; then nothing was committed by this
   */
  commit(): Promise<void> {
    return this.inTurn(async () => {
      if (this.failure !== undefined) throw this.failure;
      // guard: transaction.commit
      await this.confirm(`RELEASE SAVEPOINT ${BEGUN}; COMMIT`);
      this.over('committed');
    });
  }

  /** The user's statements are over: the connection is its owner's again. */
  over(state: 'committed' | 'rolled back'): void {
    this.state = state;
    if (this.tap.gate === this) this.tap.gate = undefined;
  }

  private watched(statement: Statement, error: unknown, result: unknown): void {
    const isEnd = statement.kind === 'ends' && !error;
    if (!isEnd) this.evidence.note(statement, error, result);
    else if (this.protocol) this.over(this.protocol === 'commit' ? 'committed' : 'rolled back');
    else this.evidence.ended(statement);
  }

  private async run(text: string, send: (done: Done) => void): Promise<Answer> {
    const statement = statementOf(text);
    await this.mustBeAlive();
    if (this.protocol && statement.kind === 'ends') return this.runProtocol(this.protocol, send);
    await this.refuse(statement, text);
    const { evidence } = this;
    if (statement.kind === 'opaque') await evidence.setProbe();
    const answer = await answerTo(send);
    this.isAltered ||= statement.kind !== 'plain' && !isOnSavepoint(statement);
    evidence.note(statement, answer[0], answer[1]);
    if (statement.kind === 'opaque') await evidence.takeProbe(statement.what);
    await evidence.keepSavepoint();
    if (evidence.isCommittedInPart) await this.undo();
    return this.failure === undefined || answer[0] ? answer : [this.failure];
  }

  /** COMMIT and ROLLBACK as TypeORM sends them at the end of a transaction of the user's. */
  private async runProtocol(protocol: 'commit' | 'rollback', send: (done: Done) => void): Promise<Answer> {
    if (protocol === 'commit' && this.evidence.savepoints.has(BEGUN)) await this.confirm(`RELEASE SAVEPOINT ${BEGUN}`);
    const answer = await answerTo(send);
    if (!answer[0]) this.over(protocol === 'commit' ? 'committed' : 'rolled back');
    return answer;
  }

  private async confirm(statement: string): Promise<void> {
    try {
      await this.evidence.confirm(statement);
    } catch (error) {
      if (!this.evidence.isCommittedInPart) throw error;
      await this.undo();
      throw this.failure;
    }
  }

  /** @throws what has ended the transaction */
  private async mustBeAlive(): Promise<void> {
    if (this.state !== 'guarding') throw new DtxError(`this transaction is ${this.state}: a statement came after it`);
    const { everyErrorEnds = false } = this.options;
    if (this.protocol !== 'rollback') await this.evidence.mustBeAlive({ everyErrorEnds });
  }

  /** @throws TransactionEnded, or DtxError, before anything was sent */
  private async refuse(statement: Statement, text: string): Promise<void> {
    if (statement.kind === 'ends') throw refusal(statement.what);
    if (statement.kind === 'autocommit' && !(await this.evidence.hasAutocommit())) throw refusal('SET autocommit');
    if (statement.kind === 'use' && this.options.isLibrarys)
      throw new DtxError(
        'USE is refused here: the library has its tables in the default database. Name the other one with each table',
      );
    if (!this.options.allowsSeveral && text.includes(';') && countStatements(text) > 1)
      throw new DtxError('several statements in one query, and multipleStatements is not set on the DataSource');
  }

  /** What was committed early and has no right to be: its rows are still leased to this process. */
  private async undo(): Promise<void> {
    for (const { afterEarlyCommit } of this.evidence.savepoints.takeDependents()) {
      await afterEarlyCommit?.().catch((error) => {
        const known = `${textOf(this.failure)}; and what was committed early is not undone: ${textOf(error)}`;
        this.evidence.failure = new OutcomeUnknown(known, { cause: this.failure });
      });
    }
  }

  private inTurn<T>(job: () => Promise<T>): Promise<T> {
    const result = this.turn.then(job);
    this.turn = result.catch(() => {});
    return result;
  }
}

function answerTo(send: (done: Done) => void): Promise<Answer> {
  return new Promise((resolve) => send((...answer) => resolve(answer as Answer)));
}

function refusal(what: string): TransactionEnded {
  return new TransactionEnded(`${what} would end it, and was not sent`);
}
