import { DtxError } from '../errors/errors.js';
import { breakOff } from './connection-watch.js';
import {
  answersOf,
  type Changed,
  type Command,
  type Done,
  type Gate,
  type Prepared,
  type RawConnection,
  type Row,
} from './mysql2-types.js';
import { bind, type SqlValue } from './sql-literals.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

/**
 * The form of the answers to library statements, independent of the pool options. Rows are objects. Times, large
 * numbers and JSON are text.
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

/** A statement as it is sent. */
export interface BoundStatement {
  readonly sql: string;
}

/** The place of a failed statement in its packet. */
const places = new WeakMap<object, number>();

/** The place of the failed statement in its packet, from 0, or undefined for an error of no packet. */
export function failedAt(error: unknown): number | undefined {
  return typeof error === 'object' && error !== null ? places.get(error) : undefined;
}

const taps = new WeakMap<RawConnection, Tap>();

/** Returns the tap of a connection, and installs it at the first use. */
export function tapOf(connection: RawConnection): Tap {
  const there = taps.get(connection);
  if (there) return there;
  const tap = new Tap(connection);
  taps.set(connection, tap);
  return tap;
}

/**
 * Intercepts a connection of mysql2. Library statements use `ask`. Statements of any other sender, such as TypeORM,
 * pass the gate while there is one, and are unchanged otherwise.
 * The gate sees each statement of the user inside a library transaction, because one that ends the transaction would
 * make every later one commit on its own.
 */
export class Tap {
  gate: Gate | undefined;
  /** The time limit of a library statement in milliseconds. 0: no limit. */
  limitMs = 0;
  /** The table names of the installation that the connection belongs to. Statements of the user are not translated. */
  names: TableNames = DEFAULT_NAMES;
  private readonly direct: Pick<RawConnection, 'query' | 'execute' | 'prepare' | 'release' | 'changeUser' | 'reset'>;
  private readonly tapped = new WeakSet<Prepared>();

  constructor(readonly connection: RawConnection) {
    const { query, execute, prepare, release, changeUser, reset, promise } = connection;
    const direct = { query, execute, prepare, release, changeUser, reset };
    this.direct = direct;
    // mysql2 would make an emitter at each call, and TypeORM calls it for each statement.
    const promised = promise.call(connection);
    connection.promise = (...args) => (args[0] ? promise.apply(connection, args) : promised);
    connection.query = (...args) => (this.gate ? this.query(this.gate, args) : query.apply(connection, args));
    connection.execute = (...args) => (this.gate ? this.execute(this.gate, args) : execute.apply(connection, args));
    connection.prepare = (...args) => (this.gate ? this.prepare(args) : prepare.apply(connection, args));
    connection.release = () => {
      if (!this.gate || this.gate.mayRelease()) release.call(connection);
    };
    for (const name of ['changeUser', 'reset'] as const) {
      connection[name] = (...args) => {
        if (this.gate) throw new DtxError(`${name} rejected: it would end the open transaction of this connection`);
        return direct[name].apply(connection, args);
      };
    }
  }

  /**
   * Sends a library statement. Several statements, separated by `;`, need a pool that allows it. A statement without an
   * answer within `limitMs` closes the connection.
   */
  ask<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.limited((done) => {
      const sql = bind(this.names.inDatabase(statement), values);
      this.direct.query.call(this.connection, { ...READ_AS, sql }, done as never);
    });
  }

  /**
   * Sends library statements in one packet, which the server runs in order up to the first error. It needs a connection
   * that allows several statements. `failedAt` tells which one failed.
   */
  askTogether(statements: readonly BoundStatement[]): Promise<unknown> {
    return this.limited((done) => {
      const sql = statements.map(({ sql }) => sql).join('; ');
      let command: Command | undefined;
      command = this.direct.query.call(this.connection, { ...READ_AS, sql }, ((error, result) => {
        // mysql2 answers at once, before it returns the command, if the connection is closed. Then nothing was sent.
        if (error) places.set(error as object, command ? answersOf(command) : 0);
        done(error, result);
      }) as Done as never);
    });
  }

  /** A library statement with its values and its table names, as it is sent. */
  bound(statement: string, values?: readonly SqlValue[]): BoundStatement {
    return { sql: bind(this.names.inDatabase(statement), values) };
  }

  /** Sends a ping, so that the server sees a live session. No statement is affected. */
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

  /** Returns the connection to its pool, past the gate. */
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
    const behind = (statements: readonly BoundStatement[], done: Done) => this.sendBehind(statements, command, done);
    gate.pass(
      command.sql,
      onResult ? Object.assign(send, { behind }) : send,
      onResult ?? ((error) => error && command.emit('error', error)),
    );
    return command;
  }

  /**
   * Sends a query in one packet behind statements without rows. The user gets its own result only. `failedAt` of an error
   * tells which statement failed.
   */
  private sendBehind(statements: readonly BoundStatement[], command: Command, done: Done): void {
    const { connection } = this;
    connection._resolveNamedPlaceholders(command);
    const own = connection.format(command.sql, command.values ?? []);
    command.sql = [...statements.map(({ sql }) => sql), own].join('; ');
    // The values are in the text. A question mark in it must not be replaced again.
    delete command.values;
    const place = statements.length;
    command.onResult = (error, results, fields) => {
      if (!error) return done(error, (results as unknown[])[place], (fields as unknown[] | undefined)?.[place]);
      places.set(error as object, answersOf(command));
      done(Object.assign(error as object, { sql: own }));
    };
    this.direct.query.call(connection, command);
  }

  /** Lets mysql2 parse the arguments, in any of their forms. */
  private commandOf([command, values, done]: [unknown, unknown?, Done?]): Command {
    if (typeof command === 'object' && command !== null && 'onResult' in command) return command as Command;
    const { createQuery } = this.connection.constructor as unknown as {
      createQuery(command: unknown, values: unknown, done: unknown, config: unknown): Command;
    };
    return createQuery(command, values, done, this.connection.config);
  }

  private execute(gate: Gate, args: unknown[]): void {
    const done = args.at(-1);
    if (typeof done !== 'function')
      throw new DtxError('execute rejected: it needs a callback inside a transaction of nest-dtx');
    const [command] = args as [string | { sql: string }];
    const send = (next: Done) => this.direct.execute.apply(this.connection, [...args.slice(0, -1), next]);
    gate.pass(textOf(command), send, done as Done);
  }

  /** A prepared statement may run in a later transaction, so each execution passes the gate. */
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
      if (!last) throw new DtxError('execute rejected: it needs a callback inside a transaction of nest-dtx');
      this.gate.pass(text, (next) => execute(given, next), last);
    };
  }
}

const textOf = (command: string | { sql: string }) => (typeof command === 'string' ? command : command.sql);

/** Handles a streamed query. Its end is the answer, with an error or without. */
function listen(command: Command, done: Done): void {
  let failure: unknown;
  command.once('error', (error) => {
    failure = error;
  });
  command.once('end', () => done(failure));
}
