import type { BoundStatement } from './intercepted-connection.js';

/** A statement of the library that waits for the next packet of its transaction. */
export interface HeldStatement extends BoundStatement {
  /** Throws the error to report in place of an error of this statement. */
  readonly explain?: ((error: unknown) => never) | undefined;
}

/** Statements that wait are small, so that their packet stays far below `max_allowed_packet` of any server. */
const HELD_CHARS_MAX = 64 * 1024;

/**
 * The statements of a transaction that travel with its next packet, at the latest with its COMMIT. They save round trips
 * and run in the order of the calls. If the process dies before, the transaction is not committed either.
 */
export class HeldStatements {
  private held: HeldStatement[] = [];
  private chars = 0;

  get isEmpty(): boolean {
    return this.held.length === 0;
  }

  /** Whether a statement may wait beside the others. */
  hasRoomFor({ sql }: BoundStatement): boolean {
    return this.chars + sql.length <= HELD_CHARS_MAX;
  }

  add(statement: HeldStatement): void {
    this.held.push(statement);
    this.chars += statement.sql.length;
  }

  /** Removes and returns the statements, to send or to drop them. */
  take(): HeldStatement[] {
    const held = this.held;
    this.held = [];
    this.chars = 0;
    return held;
  }
}

/** The error of a failed statement, as its sender explains it. */
export function explained(error: unknown, statement: HeldStatement | undefined): unknown {
  try {
    statement?.explain?.(error);
    return error;
  } catch (known) {
    return known;
  }
}
