import { DtxError, TransactionEnded } from '../errors/errors.js';
import { type Answer, answerTo, HeldStatements, NOTHING_CHANGED } from './held-statements.js';
import { type Dependent, type Hook, isOnSavepoint } from './hooks-by-savepoint.js';
import type { Tap } from './intercepted-connection.js';
import type { Changed, Done, Gate, Row, Send } from './mysql2-types.js';
import { refuseAutocommit, refuseEnding, tooLate } from './refused-statements.js';
import type { Sql } from './sql-executor.js';
import type { SqlValue } from './sql-literals.js';
import { hasStatement, mayStandInFront, type Statement, statementOf } from './statement-effect.js';
import { StatementTurns } from './statement-turns.js';
import type { GuardOptions, GuardState } from './transaction-guard-options.js';
import { BEGUN, Evidence, type HeldStatement } from './transaction-identity.js';

/**
 * One open transaction that commits as a whole or not at all. A deadlock, DDL or a manual COMMIT ends it on the server,
 * and each later statement would commit alone. So statements that end a transaction are rejected before they are sent.
 * After an end, every further statement is rejected. In the state `guarding`, statements are sent one after the other,
 * so none is in flight when another ends the transaction.
 */
export class TransactionGuard implements Gate, Sql {
  state: GuardState = 'watching';
  /** User statements changed the session, so it must not serve another transaction. */
  isAltered = false;
  /** The user code is over. Statements of it that were begun before are still sent. */
  isClosed = false;
  /** TypeORM runs its own COMMIT or ROLLBACK. */
  protocol: 'commit' | 'rollback' | undefined;
  readonly evidence: Evidence;
  readonly turns = new StatementTurns();
  readonly held: HeldStatements;

  constructor(
    private readonly tap: Tap,
    readonly options: GuardOptions,
  ) {
    this.evidence = new Evidence(tap);
    this.held = new HeldStatements(tap, this.evidence);
  }

  get failure(): unknown {
    return this.evidence.failure;
  }

  get isOver(): boolean {
    return this.state === 'committed' || this.state === 'rolled back';
  }

  /** Guards the transaction from now on. @throws the reason that ended it already */
  async join({ withSavepoint }: { withSavepoint: boolean }): Promise<void> {
    if (this.isClosed) return tooLate(this);
    if (this.failure !== undefined) throw this.failure;
    if (this.state === 'watching') this.state = 'guarding';
    if (this.state !== 'guarding') throw new DtxError(`cannot join the transaction: it is ${this.state}`);
    if (withSavepoint) await this.turns.take(() => this.evidence.demandSavepoint());
  }

  /** Notes that the library started the transaction. */
  begun({ withSavepoint }: { withSavepoint: boolean }): void {
    this.state = 'guarding';
    if (withSavepoint) this.evidence.begun();
  }

  depend(dependent: Dependent): void {
    this.evidence.savepoints.depend(dependent);
  }

  /** Removes and returns the hooks of the committed transaction. */
  takeHooks(): Hook[] {
    return this.evidence.savepoints.takeHooks();
  }

  /** Sends a library statement, in turn with those of the user. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    if (this.isClosed) return tooLate(this);
    return this.turns.take(async () => {
      if (this.isDoubted) await this.evidence.lookAgain();
      // guard: transaction.own-statement
      if (this.state !== 'watching') this.mustBeAlive();
      return this.held.sendWith<T>(this.tap.bound(statement, values));
    }, this.options.order?.before('sent'));
  }

  /**
   * Sends a statement whose answer is not needed in front of the next statement, or of COMMIT. Its error ends the
   * transaction. Without `mayDefer` it is sent now. `explain` throws the error to report for one of the statement.
   */
  defer(statement: string, values: readonly SqlValue[], explain?: (error: unknown) => never): Promise<void> {
    return this.hold([{ ...this.tap.bound(statement, values), explain }]);
  }

  /** A statement of the user for `hold`. Undefined if it cannot wait, and must be sent at once. */
  ofUser(statement: string, values: readonly unknown[]): HeldStatement | undefined {
    if (this.state !== 'guarding' || !this.options.mayDefer || this.isClosed) return undefined;
    const own = { sql: this.tap.connection.format(statement, values), isUsers: true } as const;
    return this.held.mayHold(own) && mayStandInFront(statement, own.sql) ? own : undefined;
  }

  /** Sends the waiting statements of the user, in all databases. @throws the error of one, which ends the transaction */
  sendUsers(): Promise<void> {
    if (this.isClosed) return tooLate(this);
    return this.options.order?.sendAll() ?? this.sendOwnUsers();
  }

  /** As `sendUsers`, in this database alone. */
  sendOwnUsers(): Promise<void> {
    return this.turns.take(async () => {
      // guard: transaction.users-first
      if (this.failure === undefined && this.held.hasUsers) await this.held.send();
    });
  }

  /** As `defer`, for statements that stay together. */
  hold(together: readonly HeldStatement[]): Promise<void> {
    if (this.isClosed) return tooLate(this);
    const isUsers = together[0]?.isUsers === true;
    const how = this.held.hasRoomFor(together) ? isUsers && 'waits' : 'sent';
    const inTurn = how ? this.options.order?.before(how) : undefined;
    return this.turns.take(async () => {
      if (this.isDoubted) await this.evidence.lookAgain();
      if (this.state !== 'watching') this.mustBeAlive();
      if (!this.held.hasRoomFor(together)) await this.held.send();
      if (isUsers && !this.held.hasUsers) this.options.order?.waits();
      for (const statement of together) this.held.add(statement);
      if (this.state !== 'guarding' || !this.options.mayDefer || this.held.isFull) await this.held.send();
    }, inTurn);
  }

  pass(text: string, send: Send, done: Done): void {
    // guard: transaction.statement
    if (this.state === 'watching') {
      send((error, result, fields) => {
        // guard: transaction.watched
        this.watched(statementOf(text), error, result);
        done(error, result, fields);
      });
      return;
    }
    if (this.state === 'beginning') return void this.begin(text, send, done);
    void this.turns
      .take(() => this.run(text, send), this.options.order?.before('sent'))
      .then(
        (answer) => done(...answer),
        (error) => done(error),
      );
  }

  mayRelease(): boolean {
    if (this.state !== 'guarding') return true;
    this.evidence.failure ??= new TransactionEnded('its connection was released');
    // The next user of the connection would commit an open transaction in the pool.
    if (!this.options.isLibrarys) this.tap.connection.destroy();
    return false;
  }

  /**
   * Commits after the server has confirmed by the savepoint that this is the original transaction.
   * @throws the reason that ended it. This call has then committed nothing.
   */
  commit(): Promise<void> {
    return this.turns.take(async () => {
      if (this.failure !== undefined) throw this.failure;
      // guard: transaction.commit
      await this.confirm({ sql: 'COMMIT' });
      this.over('committed');
    });
  }

  /** Ends the transaction and releases the gate. */
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

  private async run(text: string, send: Send): Promise<Answer> {
    const statement = statementOf(text);
    const { evidence } = this;
    if (this.isDoubted) await evidence.lookAgain();
    this.mustBeAlive();
    if (this.protocol && statement.kind === 'ends') return this.runProtocol(this.protocol, text, send);
    refuseEnding(statement, text, this.options);
    if (statement.kind === 'autocommit') await refuseAutocommit(evidence);
    const behind = statement.kind === 'plain' && hasStatement(text) ? send.behind : undefined;
    if (!behind && !this.held.isEmpty) await this.held.send();
    if (statement.kind === 'opaque') await evidence.setProbe();
    const answer = await this.held.sendWithUsers({ alone: send, behind });
    this.isAltered ||= statement.kind !== 'plain' && !isOnSavepoint(statement);
    evidence.note(statement, answer[0], answer[1]);
    if (statement.kind === 'opaque') await evidence.takeProbe(statement.what);
    if (evidence.lacksSavepoint) await evidence.keepSavepoint();
    if (evidence.isCommittedInPart) await this.evidence.undoEarly();
    return this.failure === undefined || answer[0] ? answer : [this.failure];
  }

  /** Runs the COMMIT or ROLLBACK of TypeORM at the end of a user transaction. */
  private async runProtocol(protocol: 'commit' | 'rollback', text: string, send: Send): Promise<Answer> {
    if (protocol === 'rollback') this.held.take();
    else if (!this.evidence.savepoints.has(BEGUN)) await this.held.send();
    if (protocol === 'commit' && this.evidence.savepoints.has(BEGUN)) {
      const { mayDefer } = this.options;
      const answers = await this.confirm(...(mayDefer ? [{ sql: text }] : []));
      if (mayDefer) this.over('committed');
      if (mayDefer) return [null, answers.at(-1)];
    }
    const answer = await answerTo(send);
    if (!answer[0]) this.over(protocol === 'commit' ? 'committed' : 'rolled back');
    return answer;
  }

  /** Holds the START TRANSACTION of TypeORM back, with the savepoint, for the packet of the first statement. */
  private begin(text: string, send: Send, done: Done): void {
    if (text !== 'START TRANSACTION') {
      send(done);
      return;
    }
    this.held.addBegin([text, `SAVEPOINT ${BEGUN}`]);
    this.begun({ withSavepoint: true });
    done(null, NOTHING_CHANGED);
  }

  /** Sends the statements that wait and the end, behind the check that the transaction is the original one. */
  private async confirm(...end: readonly HeldStatement[]): Promise<unknown[]> {
    try {
      return await this.held.confirm(end);
    } catch (error) {
      if (!this.evidence.isCommittedInPart) throw error;
      await this.evidence.undoEarly();
      throw this.failure;
    }
  }

  /** @throws the reason that ended the transaction */
  private mustBeAlive(): void {
    if (this.state !== 'guarding')
      throw new DtxError(`statement rejected: the transaction is ${this.state}; await every statement inside it`);
    if (this.protocol !== 'rollback') this.evidence.mustBeAlive(this.options);
  }

  /** Whether `mustBeAlive` needs another look at the server. */
  private get isDoubted(): boolean {
    return this.evidence.isDoubted && this.state === 'guarding' && this.protocol !== 'rollback';
  }
}
