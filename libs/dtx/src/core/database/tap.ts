import { DtxError } from '../errors/errors.js';
import { breakOff } from './connection-watch.js';
import { bind, type SqlValue } from './literal.js';
import type { Changed, Command, Done, Gate, Prepared, RawConnection, Row } from './raw-connection.js';

/**
 * How answers to the library's own statements are read, whatever the options of the pool say: rows as objects, times as
 * text, large numbers as text, JSON as text.
 */
const READ_AS = {
  rowsAsArray: false,
  nestTables: false,
  typeCast: true,
  dateStrings: true,
  supportBigNumbers: true,
  bigNumberStrings: true,
  decimalNumbers: false,
  jsonStrings: true,
};

const taps = new WeakMap<RawConnection, Tap>();

/** The tap of a connection; its first use puts it there, for as long as the connection lives. */
export function tapOf(connection: RawConnection): Tap {
  const there = taps.get(connection);
  if (there) return there;
  const tap = new Tap(connection);
  taps.set(connection, tap);
  return tap;
}

/**
 * Sits on a connection of the driver. Statements of the library go by `ask`. Everything that anybody else sends, by TypeORM
 * or by the connection itself, comes to the gate while there is one, and is let through untouched while there is none.
 */
export class Tap {
  gate: Gate | undefined;
  /** How long the answer to a statement of the library's own may take, in milliseconds. 0: as long as it likes. */
  limitMs = 0;
  private readonly direct: Pick<RawConnection, 'query' | 'execute' | 'prepare' | 'release' | 'changeUser' | 'reset'>;
  private readonly tapped = new WeakSet<Prepared>();

  constructor(readonly connection: RawConnection) {
    const { query, execute, prepare, release, changeUser, reset } = connection;
    const direct = { query, execute, prepare, release, changeUser, reset };
    this.direct = direct;
    connection.query = (...args) => (this.gate ? this.query(this.gate, args) : query.apply(connection, args));
    connection.execute = (...args) => (this.gate ? this.execute(this.gate, args) : execute.apply(connection, args));
    connection.prepare = (...args) => (this.gate ? this.prepare(args) : prepare.apply(connection, args));
    connection.release = () => {
      if (!this.gate || this.gate.mayRelease()) release.call(connection);
    };
    for (const name of ['changeUser', 'reset'] as const) {
      connection[name] = (...args) => {
        if (this.gate) throw new DtxError(`${name} would end the transaction that is open on this connection`);
        return direct[name].apply(connection, args);
      };
    }
  }

  /**
   * Sends a statement of the library's own. Several, with `;` between, only where the pool allows it. One that is not
   * answered within `limitMs` ends the connection.
   */
  ask<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.limited((done) => {
      this.direct.query.call(this.connection, { ...READ_AS, sql: bind(statement, values) }, done as never);
    });
  }

  /** Says that this process is alive, and changes nothing that a statement could see. */
  ping(): Promise<void> {
    return this.limited((done) => this.connection.ping(done));
  }

  private limited<T>(send: (done: Done) => unknown): Promise<T> {
    const { limitMs, connection } = this;
    return new Promise((resolve, reject) => {
      const timer = limitMs > 0 ? setTimeout(() => reject(breakOff(connection, limitMs)), limitMs) : undefined;
      send((error, result) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve(result as T);
      });
    });
  }

  /** Back to its pool, past the gate. */
  release(): void {
    this.gate = undefined;
    this.direct.release.call(this.connection);
  }

  private query(gate: Gate, args: [unknown, unknown?, Done?]): Command {
    const command = this.commandOf(args);
    const { onResult } = command;
    const send = (done: Done) => {
      if (onResult) command.onResult = done;
      else listen(command, done);
      this.direct.query.call(this.connection, command);
    };
    gate.pass(command.sql, send, onResult ?? ((error) => error && command.emit('error', error)));
    return command;
  }

  /** The driver's own way of reading the arguments, whatever form they have. */
  private commandOf([command, values, done]: [unknown, unknown?, Done?]): Command {
    if (typeof command === 'object' && command !== null && 'onResult' in command) return command as Command;
    const { createQuery } = this.connection.constructor as unknown as {
      createQuery(command: unknown, values: unknown, done: unknown, config: unknown): Command;
    };
    return createQuery(command, values, done, this.connection.config);
  }

  private execute(gate: Gate, args: unknown[]): void {
    const done = args.at(-1);
    if (typeof done !== 'function') throw new DtxError('execute needs a callback inside a transaction of nest-dtx');
    const [command] = args as [string | { sql: string }];
    const send = (next: Done) => this.direct.execute.apply(this.connection, [...args.slice(0, -1), next]);
    gate.pass(textOf(command), send, done as Done);
  }

  /** What is prepared now may be run in a later transaction: it is looked at whenever it is run. */
  private prepare([command, done]: Parameters<RawConnection['prepare']>): void {
    this.direct.prepare.call(this.connection, command, (error, statement) => {
      if (statement && !this.tapped.has(statement)) this.tapPrepared(statement, textOf(command));
      done(error, statement);
    });
  }

  private tapPrepared(statement: Prepared, text: string): void {
    this.tapped.add(statement);
    const execute = statement.execute.bind(statement);
    statement.execute = (values, done) => {
      if (!this.gate) return execute(values, done);
      const [given, last] = typeof values === 'function' ? [[], values as Done] : [values, done];
      if (!last) throw new DtxError('execute needs a callback inside a transaction of nest-dtx');
      this.gate.pass(text, (next) => execute(given, next), last);
    };
  }
}

const textOf = (command: string | { sql: string }) => (typeof command === 'string' ? command : command.sql);

/** For a query whose rows are streamed: its end is its answer, and says nothing but whether it failed. */
function listen(command: Command, done: Done): void {
  let failure: unknown;
  command.once('error', (error) => {
    failure = error;
  });
  command.once('end', () => done(failure));
}
