import { isCondemned } from '../errors/sql-errors.js';
import type { RawConnection } from './mysql2-types.js';
import type { PoolWatch } from './pool-renewal.js';

/** A command of mysql2: a query, a prepared statement, a ping. */
interface DriverCommand {
  readonly sql?: string;
  onResult?: ((...answer: unknown[]) => void) | undefined;
  once(event: 'error' | 'end', listener: (error?: unknown) => void): unknown;
}

/** The connection of mysql2 below its methods. Every command of every caller passes `addCommand`. */
interface Wire {
  addCommand(command: DriverCommand): unknown;
  on(event: 'error', listener: () => void): unknown;
  readonly stream: { destroy(error: Error): void };
}

const watches = new WeakMap<RawConnection, ConnectionWatch>();

/** Returns the watch of a connection, and installs it at the first use. */
export function watchOf(connection: RawConnection, pool: PoolWatch): ConnectionWatch {
  const there = watches.get(connection);
  if (there) return there;
  const watch = new ConnectionWatch(connection, pool);
  watches.set(connection, watch);
  return watch;
}

/** The time in milliseconds without a statement in flight on a connection. */
export function quietMsOf(connection: RawConnection): number {
  return watches.get(connection)?.quietMs ?? 0;
}

/** Watches every answer on a connection, and closes a connection that does not answer in time. */
export class ConnectionWatch {
  /** The time limit of a statement in milliseconds. 0: no limit. */
  statementMs = 0;
  private readonly bornAt = performance.now();
  private isCondemned = false;
  private inFlight = 0;
  private quietSince = performance.now();

  constructor(
    private readonly connection: RawConnection,
    private readonly pool: PoolWatch,
  ) {
    const wire = connection as unknown as Wire;
    const { addCommand } = wire;
    wire.addCommand = (command) => {
      this.follow(command);
      return addCommand.call(wire, command);
    };
    const { release } = connection;
    connection.release = () => (this.isUseless ? connection.destroy() : release.call(connection));
    // The sender of a statement receives the error of a lost connection. Without this listener, mysql2 would end the
    // process.
    wire.on('error', () => {});
  }

  /** Whether the connection must not be used again. */
  get isUseless(): boolean {
    return this.isCondemned || this.pool.isOld(this.bornAt);
  }

  /** The time in milliseconds without a statement in flight. */
  get quietMs(): number {
    return this.inFlight > 0 ? 0 : performance.now() - this.quietSince;
  }

  private follow(command: DriverCommand): void {
    const limit = this.statementMs;
    this.inFlight++;
    let isOver = false;
    const end = () => {
      const error = breakOff(this.connection, limit);
      // mysql2 does not report an error on a connection that it closed before.
      setImmediate(() => command.onResult?.(error));
    };
    const timer = limit > 0 ? setTimeout(end, limit) : undefined;
    const over = (error?: unknown) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      this.inFlight--;
      this.quietSince = performance.now();
      if (error && isCondemned(error)) this.condemn();
    };
    // `end` also covers a command that was never sent because its prepare failed. mysql2 reports it only to the earlier
    // listener.
    command.once('end', () => over());
    const { onResult } = command;
    if (!onResult) {
      command.once('error', over);
      return;
    }
    let isAnswered = false;
    command.onResult = (...answer) => {
      if (isAnswered) return;
      isAnswered = true;
      over(answer[0]);
      onResult.apply(command, answer);
    };
  }

  private condemn(): void {
    this.isCondemned = true;
    this.pool.condemn();
  }
}

/** Closes a connection at once. Every pending statement on it fails with this error. */
export function breakOff(connection: RawConnection, afterMs: number): Error {
  const text = `the database has not answered within ${Math.round(afterMs)} ms; its connection was closed`;
  const error = Object.assign(new Error(text), { code: 'PROTOCOL_SEQUENCE_TIMEOUT' });
  (connection as unknown as Wire).stream.destroy(error);
  return error;
}
