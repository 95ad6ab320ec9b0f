import { isCondemned } from '../errors/sql-errors.js';
import type { RawConnection } from './raw-connection.js';

/** A command of the driver: a query, a prepared statement, a ping. */
interface DriverCommand {
  readonly sql?: string;
  onResult?: ((...answer: unknown[]) => void) | undefined;
  once(event: 'error' | 'end', listener: (error?: unknown) => void): unknown;
}

/** mysql2's connection below its methods: whatever is sent, by whomever, is added here. */
interface Wire {
  addCommand(command: DriverCommand): unknown;
  on(event: 'error', listener: () => void): unknown;
  readonly stream: { destroy(error: Error): void };
}

/** How often a pool gives up all its connections: each failed write says again that the server takes none. */
const RENEW_MS = 1_000;

/**
 * The connections of one pool, as of the moment when one of them was condemned. The others were opened to the same server,
 * so they are not used again either: after a switchover of the address, one refused write moves the whole pool.
 */
export class PoolWatch {
  private condemnedAt = Number.NEGATIVE_INFINITY;

  condemn(): void {
    const now = performance.now();
    if (now - this.condemnedAt > RENEW_MS) this.condemnedAt = now;
  }

  isOld(bornAt: number): boolean {
    return bornAt <= this.condemnedAt;
  }
}

const watches = new WeakMap<RawConnection, ConnectionWatch>();

/** The watch of a connection; its first use puts it there, for as long as the connection lives. */
export function watchOf(connection: RawConnection, pool: PoolWatch): ConnectionWatch {
  const there = watches.get(connection);
  if (there) return there;
  const watch = new ConnectionWatch(connection, pool);
  watches.set(connection, watch);
  return watch;
}

/** For how long nothing was sent over a connection, and nothing was waited for; in milliseconds. */
export function quietMsOf(connection: RawConnection): number {
  return watches.get(connection)?.quietMs ?? 0;
}

/** Sees every answer that comes over a connection, and ends a connection that does not answer. */
export class ConnectionWatch {
  /** How long a statement may take, in milliseconds. 0: as long as it likes. */
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
    // A lost connection is told to whoever has sent something. Without a listener the driver would end the process.
    wire.on('error', () => {});
  }

  /** Whether the connection must not be given to anybody again. */
  get isUseless(): boolean {
    return this.isCondemned || this.pool.isOld(this.bornAt);
  }

  /** For how long nothing was sent and nothing is being waited for, in milliseconds. */
  get quietMs(): number {
    return this.inFlight > 0 ? 0 : performance.now() - this.quietSince;
  }

  private follow(command: DriverCommand): void {
    const limit = this.statementMs;
    this.inFlight++;
    let isOver = false;
    const end = () => {
      const error = breakOff(this.connection, limit);
      // A driver that had closed the connection before tells nobody.
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
    // Also of one that was never sent, because its prepare has failed: the driver tells that to whom it knows from before.
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

/** Ends a connection at once. Everything that waits for an answer on it is told that none has come. */
export function breakOff(connection: RawConnection, afterMs: number): Error {
  const text = `the database has not answered within ${Math.round(afterMs)} ms: its connection was closed`;
  const error = Object.assign(new Error(text), { code: 'PROTOCOL_SEQUENCE_TIMEOUT' });
  (connection as unknown as Wire).stream.destroy(error);
  return error;
}
