import { DtxError } from '../errors/errors.js';
import { breakOff } from './connection-watch.js';
import { libraryQueries } from './library-query.js';
import {
  type Behind,
  type Changed,
  type Command,
  type Done,
  type Gate,
  type Prepared,
  type RawConnection,
  type Row,
} from './mysql2-types.js';
import { type BoundStatement, failureOf, packetOf } from './packet.js';
import { bind, type SqlValue } from './sql-literals.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

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
  /** Sends a statement of the library. */
  private readonly send: (sql: string, done: Done) => Command;

  constructor(readonly connection: RawConnection) {
    const { query, execute, prepare, release, changeUser, reset, promise } = connection;
    const direct = { query, execute, prepare, release, changeUser, reset };
    this.direct = direct;
    this.send = libraryQueries(connection, query);
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
      this.send(sql, done);
    });
  }

  /**
   * Sends statements in one packet, which the server runs in order up to the first error. It needs a connection that
   * allows several statements. `failedAt` tells which one failed.
   */
  askTogether(statements: readonly BoundStatement[], limitMs = this.limitMs): Promise<unknown> {
    return this.limited((done) => {
      let command: Command | undefined;
      command = this.send(packetOf(statements), (error, result) => {
        done(failureOf(error, statements, { command, connection: this.connection }), result);
      });
    }, limitMs);
  }

  /** A library statement with its values and its table names, as it is sent. */
  bound(statement: string, values?: readonly SqlValue[]): BoundStatement {
    return { sql: bind(this.names.inDatabase(statement), values) };
  }

  /** Sends a ping, so that the server sees a live session. No statement is affected. */
  ping(): Promise<void> {
    return this.limited((done) => this.connection.ping(done));
  }

  private limited<T>(send: (done: Done) => unknown, limitMs = this.limitMs): Promise<T> {
    const { connection } = this;
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
    gate.pass(
      command.sql,
      onResult ? Object.assign(send, { behind: this.behind(command) }) : send,
      onResult ?? ((error) => error && command.emit('error', error)),
    );
    return command;
  }

  /** A query in one packet behind others. Its text is made once, when it is needed. */
  private behind(command: Command): Behind {
    let made: string | undefined;
    const own = () => {
      if (made !== undefined) return made;
      this.connection._resolveNamedPlaceholders(command);
      made = this.connection.format(command.sql, command.values ?? []);
      return made;
    };
    return {
      length: () => own().length,
      send: (statements, done) => this.sendBehind(statements, { command, own: own() }, done),
    };
  }

  /**
   * Sends a query in one packet behind statements without rows. The user gets its own result only. `failedAt` of an error
   * tells which statement failed.
   */
  private sendBehind(
    statements: readonly BoundStatement[],
    { command, own }: { command: Command; own: string },
    done: Done,
  ): void {
    const all = [...statements, { sql: own }];
    const place = statements.length;
    command.sql = packetOf(all);
    // The values are in the text. A question mark in it must not be replaced again.
    delete command.values;
    command.onResult = (error, results, fields) => {
      const failure = failureOf(error, all, { command, connection: this.connection });
      if (failure) done(Object.assign(failure, { sql: own }));
      else done(null, (results as unknown[])[place], (fields as unknown[] | undefined)?.[place]);
    };
    this.direct.query.call(this.connection, command);
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
