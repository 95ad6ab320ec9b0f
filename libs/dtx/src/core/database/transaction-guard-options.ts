/** Keeps the order of statements over several transactions, which the user code takes for one. */
export interface StatementOrder {
  /**
   * Called before a statement is sent, or before one of the user waits for a packet. Resolves when it is in turn. Undefined
   * if it is in turn now.
   */
  before(how: 'waits' | 'sent'): Promise<void> | undefined;
  /** Called when the first statement of the user waits. */
  waits(): void;
  /** Sends all waiting statements of the user, in order. @throws the first error */
  sendAll(): Promise<void>;
}

export interface GuardOptions {
  /** Whether one query may hold several statements, as set on the DataSource of the user. */
  readonly allowsSeveral: boolean;
  /** The library started the transaction, on its own session. */
  readonly isLibrarys: boolean;
  /**
   * Each failed user statement ends the transaction, even if user code catches the error. Only a duplicate key does
   * not.
   */
  readonly everyErrorEnds?: boolean | undefined;
  /**
   * Statements of the library may wait for the next packet (`defer`). The owner of the transaction commits by `commit` or
   * by TypeORM, and its connection takes several statements in one packet.
   */
  readonly mayDefer?: boolean | undefined;
  /** The owner of the transaction runs it again after `ChangeMissed`, and then without this option. */
  readonly runsAgain?: boolean | undefined;
  readonly order?: StatementOrder | undefined;
}

/**
 * `beginning`: the START TRANSACTION of TypeORM comes next. `watching`: a user transaction that the library has not joined
 * and does not change.
 */
export type GuardState = 'beginning' | 'watching' | 'guarding' | 'committed' | 'rolled back';
