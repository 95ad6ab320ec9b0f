import { AsyncLocalStorage } from 'node:async_hooks';
import type { DataSource } from 'typeorm';
import { TransactionRequired } from '../errors/errors.js';
import { emit } from '../telemetry-events.js';

interface Inside {
  readonly source: DataSource;
  /** The running user code, named in the error. */
  readonly what: string;
  isOver: boolean;
}

const current = new AsyncLocalStorage<Inside | undefined>();

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
  async inside<T>(what: string, work: () => Promise<T>): Promise<T> {
    const inside: Inside = { source: this.source, what, isOver: false };
    try {
      return await current.run(inside, work);
    } finally {
      inside.isOver = true;
    }
  }

  /** @throws TransactionRequired inside a library transaction on this database */
  check(): void {
    const inside = current.getStore();
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
  return current.run(undefined, work);
}
