import type { DataSource } from 'typeorm';
import { asyncContext, type Inside, withAsyncContext } from '../async/async-context.js';
import { begun } from '../async/begun.js';
import { TransactionRequired } from '../errors/errors.js';
import { emit } from '../telemetry-events.js';

/**
 * Keeps user code inside its library transaction. An injected repository uses another connection. Its writes commit at
 * once, and again at every retry.
 */
export class StrayGuard {
  /** @param mode `refuse` throws. `count` lets the statement through and counts it (`nest-dtx:strayed`). */
  constructor(
    private readonly source: DataSource,
    private readonly mode: 'refuse' | 'count',
  ) {
    const create = source.createQueryRunner.bind(source);
    source.createQueryRunner = (replication) => {
      this.check();
      return create(replication);
    };
  }

  /** @throws TransactionRequired from the call of `work` that used another connection */
  inside<T>(what: string, work: () => Promise<T>): Promise<T> {
    const inside: Inside = { source: this.source, what, isOver: false };
    const running = withAsyncContext({ inside }, () => begun(work));
    const over = () => {
      inside.isOver = true;
    };
    running.then(over, over);
    return running;
  }

  /** @throws TransactionRequired inside a library transaction on this database */
  check(): void {
    const { inside } = asyncContext();
    if (inside?.source !== this.source || inside.isOver) return;
    emit('strayed', { what: inside.what });
    if (this.mode === 'refuse')
      throw new TransactionRequired(
        inside.what,
        `SQL on another connection inside ${inside.what}: it would not be rolled back with the transaction; use the given ` +
          'tx, or outsideTransaction(() => ...) for work outside the transaction',
      );
  }
}

/**
 * Runs work outside the surrounding transaction: an audit log entry that survives a rollback, a look-up on another
 * connection. It is not rolled back, and it runs again at each retry of the handler.
 * @example
 *   await outsideTransaction(() => this.auditLog.insert({ what: 'refused', orderId }));
 */
export function outsideTransaction<T>(work: () => T): T {
  return withAsyncContext({ inside: undefined }, work);
}
