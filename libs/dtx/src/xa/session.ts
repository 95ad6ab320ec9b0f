import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { isDatabaseAway, isDuplicateKey } from '../core/database/sql-errors.js';
import { DtxError } from '../core/errors.js';
import { XaUnavailable } from './errors.js';

interface RawConnection {
  query(sql: string, values: unknown[], done: (error: unknown, result: unknown) => void): void;
  destroy(): void;
}

export type Rows = Array<Record<string, unknown>>;

/** Lowest error number of the servers; lower ones are the operating system's. */
const SERVER_ERRNO_MIN = 1_000;

/**
 * One connection on which one branch lives and dies, and the only place that reaches into TypeORM: a query runner that
 * believes itself in a transaction, so that `save` begins none of its own, which an XA branch would refuse. It remembers
 * the first error of the caller's statements, for a branch in which one has failed must not be prepared even if the
 * caller has swallowed it: after a lock wait the servers would gladly prepare the half that is left.
 */
export class Session {
  /** Why the branch cannot be committed any more: the first statement of the caller that failed. */
  failure: unknown;
  /** Whether the connection still does what it is told; if not, only its end is certain. */
  isSound = true;
  private isOpenToCaller = false;
  private isEnded = false;
  private readonly inFlight = new Set<Promise<unknown>>();
  private abortWith: (error: Error) => void = () => {};
  private readonly aborted: Promise<never>;

  private constructor(
    private readonly runner: QueryRunner,
    private readonly connection: RawConnection,
    private readonly limitMs: number,
  ) {
    this.aborted = new Promise<never>((_, reject) => {
      this.abortWith = reject;
    });
    this.aborted.catch(() => {}); // heard by whoever waits for a statement
    this.guard();
  }

  /**
   * @param limits `withinMs`: how long to wait for the connection; `limitMs`: for the answer to one statement of `send`
   * @throws XaUnavailable when the pool has not given a connection in time, and what connecting throws
   */
  static async open(
    source: DataSource,
    { withinMs, limitMs }: { withinMs: number; limitMs: number },
  ): Promise<Session> {
    const runner = source.createQueryRunner();
    const connecting: Promise<RawConnection> = runner.connect();
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, withinMs, null);
    });
    const connection = await Promise.race([connecting, limit]).finally(() => clearTimeout(timer));
    if (connection) return new Session(runner, connection, limitMs);
    // Whoever waits for it next is to have it.
    connecting.then(
      () => runner.release(),
      () => {},
    );
    throw new XaUnavailable(`no connection within ${withinMs} ms`);
  }

  get manager(): EntityManager {
    return this.runner.manager;
  }

  get queryRunner(): QueryRunner {
    return this.runner;
  }

  /** From now on the caller may use the manager, and TypeORM takes the transaction for its own. */
  enter(): void {
    Object.assign(this.runner, { isTransactionActive: true, transactionDepth: 1 });
    this.isOpenToCaller = true;
  }

  /**
   * The caller is out. What it has begun without awaiting it still belongs to the branch, and is waited for: TypeORM
   * sends a moment later than it is asked. Whatever comes from now on is refused, instead of meeting a connection without
   * the branch.
   */
  async leave(): Promise<void> {
    this.isOpenToCaller = false;
    await Promise.allSettled(this.inFlight);
  }

  /** A statement of the protocol's own, as text: XA statements cannot be prepared ones. Several go in one round trip. */
  async send<T = Rows>(sql: string, values: unknown[] = []): Promise<T> {
    const sent = new Promise<T>((resolve, reject) => {
      this.connection.query(sql, values, (error, result) => (error ? reject(error) : resolve(result as T)));
    });
    const limit = setTimeout(() => this.abort(new XaUnavailable(`no answer within ${this.limitMs} ms`)), this.limitMs);
    return this.watch(sent).finally(() => clearTimeout(limit));
  }

  /** Ends every wait on this connection with the error: a network that swallows bytes never would. */
  abort(error: Error): void {
    this.abortWith(error);
  }

  /** Back to its private pool. Only for a connection on which nothing is left open. */
  release(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.isOpenToCaller = false;
    Object.assign(this.runner, { isTransactionActive: false, transactionDepth: 0 });
    void this.runner.release();
  }

  /** Ends the connection. What was not prepared is rolled back by the server, what was is left to the recovery. */
  destroy(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.isOpenToCaller = false;
    this.abort(new XaUnavailable('the connection was given up'));
    this.connection.destroy();
  }

  private guard(): void {
    const query = this.runner.query.bind(this.runner) as (...args: unknown[]) => Promise<unknown>;
    const guarded = (...args: unknown[]) => {
      if (!this.isOpenToCaller) throw new DtxError('this XA transaction is over: a statement came after its work');
      // A deadlock has ended a local transaction: what came after it would be committed on the spot. A duplicate key has
      // not, and whoever ran into one may look whose it is; committed it will not be either way.
      if (this.failure !== undefined && !isDuplicateKey(this.failure)) throw this.failure;
      const statement: Promise<unknown> = this.watch(query(...args))
        .catch((error) => {
          this.failure ??= error;
          throw error;
        })
        .finally(() => this.inFlight.delete(statement));
      this.inFlight.add(statement);
      return statement;
    };
    const stream = () => {
      throw new DtxError('results cannot be streamed inside an XA transaction');
    };
    Object.assign(this.runner, { query: async (...args: unknown[]) => guarded(...args), stream });
  }

  private async watch<T>(statement: Promise<T>): Promise<T> {
    try {
      return await Promise.race([statement, this.aborted]);
    } catch (error) {
      if (!isAnswered(error)) this.isSound = false;
      throw error;
    }
  }
}

/** Whether the server has said no. Anything else leaves open whether the statement was carried out. */
export function isAnswered(error: unknown): boolean {
  const { driverError, errno } = error as { driverError?: { errno?: number }; errno?: number };
  return (driverError?.errno ?? errno ?? 0) >= SERVER_ERRNO_MIN && !isDatabaseAway(error);
}
