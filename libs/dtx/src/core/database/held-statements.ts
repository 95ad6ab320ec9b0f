import { isDoneInPart, OutcomeUnknown, TookTooLong } from '../errors/errors.js';
import type { Tap } from './intercepted-connection.js';
import type { Send } from './mysql2-types.js';
import { type BoundStatement, failedAt } from './packet.js';
import type { Evidence, HeldStatement } from './transaction-identity.js';

export type Answer = [error: unknown, result?: unknown, fields?: unknown];

/** The answer to a statement that is held back, in the form of the server. */
export const NOTHING_CHANGED = { affectedRows: 0, insertId: 0, info: '', serverStatus: 3, warningStatus: 0 };

/**
 * Statements that wait are small, and so is one that travels with them, so that their packet stays far below
 * `max_allowed_packet` of any server.
 */
const HELD_CHARS_MAX = 64 * 1024;
// guard: transaction.large-alone
const isLarge = (chars: number) => chars > HELD_CHARS_MAX;

/**
 * The statements of a transaction that travel with its next packet, at the latest with its COMMIT. They save round trips
 * and run in the order of the calls. An error of one ends the transaction, since its row would be missing, whatever the
 * user does with the error. If the process dies before the packet, the transaction is not committed either.
 */
export class HeldStatements {
  private held: HeldStatement[] = [];
  private chars = 0;
  /** Packets with statements of the user that are not answered yet. */
  private usersInFlight = 0;
  /** START TRANSACTION is among them. */
  hasBegin = false;
  /** The end of the time of the user code, by `performance.now()`. Undefined without a limit. */
  userCodeUntilMs: number | undefined;

  constructor(
    private readonly tap: Tap,
    private readonly evidence: Evidence,
  ) {}

  /** Whether a statement is small enough to wait. */
  mayHold({ sql }: BoundStatement): boolean {
    return !isLarge(sql.length);
  }

  /** Whether statements may wait beside the others. */
  hasRoomFor(statements: readonly BoundStatement[]): boolean {
    return statements.reduce((chars, { sql }) => chars + sql.length, this.chars) <= HELD_CHARS_MAX;
  }

  get isEmpty(): boolean {
    return this.held.length === 0;
  }

  get isFull(): boolean {
    return this.chars > HELD_CHARS_MAX;
  }

  /** Whether statements of the user are among them. */
  get hasUsers(): boolean {
    return this.held.some(({ isUsers }) => isUsers);
  }

  /** Whether statements of the user are among them, or were sent and are not answered. */
  get hasOpenUsers(): boolean {
    return this.hasUsers || this.usersInFlight > 0;
  }

  add(statement: HeldStatement): void {
    this.held.push(statement);
    this.chars += statement.sql.length;
  }

  addBegin(statements: readonly string[]): void {
    this.hasBegin = true;
    for (const sql of statements) this.add({ sql });
  }

  /** Removes and returns the statements. */
  take(): HeldStatement[] {
    const held = this.held;
    this.held = [];
    this.chars = 0;
    this.hasBegin = false;
    return held;
  }

  /** Sends them alone. @throws the error of one, which ends the transaction */
  async send(): Promise<void> {
    const { limitMs } = this;
    const held = this.take();
    if (held.length === 0) return;
    await this.inFlight(held, this.tap.askTogether(held, limitMs)).catch((error) => {
      throw this.evidence.heldFailed(error, held[failedAt(error) ?? 0]);
    });
  }

  /**
   * Sends them and the end of the transaction behind the check that it is the original one. None of them runs in another
   * one. If the begin is among them, no statement was sent that could have ended it, and the whole transaction is one
   * packet.
   */
  confirm(end: readonly HeldStatement[]): Promise<unknown[]> {
    const { hasBegin, limitMs } = this;
    const held = this.take();
    return hasBegin
      ? this.evidence.confirm(end, { before: held, limitMs })
      : this.evidence.confirm([...held, ...end], { limitMs });
  }

  /** Sends a statement of the library behind them, and returns its answer. @throws its error, or that of one of them */
  async sendWith<T>(statement: BoundStatement): Promise<T> {
    if (isLarge(statement.sql.length)) await this.send();
    const { limitMs } = this;
    const held = this.take();
    try {
      const answer = await this.inFlight(held, this.tap.askTogether([...held, statement], limitMs));
      return (held.length === 0 ? answer : (answer as unknown[])[held.length]) as T;
    } catch (error) {
      const failed = held[failedAt(error) ?? 0];
      if (failed) throw this.evidence.heldFailed(error, failed);
      this.evidence.failed(error);
      throw error;
    }
  }

  /** Sends a statement of the user behind them, and returns its answer. @throws the error of one of them */
  async sendWithUsers({ alone, behind }: { alone: Send; behind: Send['behind'] }): Promise<Answer> {
    if (this.isEmpty) return answerTo(alone);
    if (!behind || isLarge(behind.length())) {
      await this.send();
      return answerTo(alone);
    }
    const held = this.take();
    const sent = answerTo((done) => behind.send(held, done));
    const answer = await this.inFlight(held, sent);
    const failed = answer[0] ? held[failedAt(answer[0]) ?? held.length] : undefined;
    if (failed) throw this.evidence.heldFailed(answer[0], failed);
    return answer;
  }

  private inFlight<T>(held: readonly HeldStatement[], answer: Promise<T>): Promise<T> {
    if (!held.some(({ isUsers }) => isUsers)) return answer;
    this.usersInFlight++;
    return answer.finally(() => {
      this.usersInFlight--;
    });
  }

  /**
   * The time limit of the next packet in milliseconds. 0: no limit. That of a library statement is too short for
   * statements of the user, which have the time that is left to the user code.
   */
  get limitMs(): number {
    const { limitMs } = this.tap;
    // guard: transaction.users-time
    if (limitMs === 0 || !this.hasUsers) return limitMs;
    return this.userCodeUntilMs === undefined ? 0 : Math.max(limitMs, this.userCodeUntilMs - performance.now());
  }
}

/**
 * Whether code may have failed because of an answer that was not checked yet. The error of work that may be done elsewhere
 * must not be replaced, since that work must not run again.
 */
export function mayBeForAnAnswer(error: unknown): boolean {
  return !(isDoneInPart(error) || error instanceof OutcomeUnknown || error instanceof TookTooLong);
}

export function answerTo(send: Send): Promise<Answer> {
  return new Promise((resolve) => send((...answer) => resolve(answer as Answer)));
}
