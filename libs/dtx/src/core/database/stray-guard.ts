import { AsyncLocalStorage } from 'node:async_hooks';
import type { DataSource } from 'typeorm';
import { TransactionRequired } from '../errors/errors.js';
import { measure } from '../telemetry.js';

interface Inside {
  readonly source: DataSource;
  /** What is running: named in the error. */
  readonly what: string;
  isOver: boolean;
}

const current = new AsyncLocalStorage<Inside | undefined>();

/**
 * Keeps code that runs in a transaction of the library's on that transaction. A repository that was injected has another
 * connection: what it writes is committed at once, and again at every retry.
 */
export class StrayGuard {
  /** @param mode `count` lets the statement through and counts it: `nest-dtx:strayed` */
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

  /** @throws TransactionRequired from the call of `work` that strayed */
  async inside<T>(what: string, work: () => Promise<T>): Promise<T> {
    const inside: Inside = { source: this.source, what, isOver: false };
    try {
      return await current.run(inside, work);
    } finally {
      inside.isOver = true;
    }
  }

  /** @throws TransactionRequired inside a transaction of the library's on this database */
  check(): void {
    const inside = current.getStore();
    if (inside?.source !== this.source || inside.isOver) return;
    measure('strayed', { what: inside.what });
    if (this.mode === 'refuse')
      throw new TransactionRequired(
        inside.what,
        `SQL on another connection inside ${inside.what}: it would not be undone with the transaction. Use the tx that was ` +
          'given, or outsideTransaction(() => ...) for what must not be part of it',
      );
  }
}

/**
 * Runs what must not be part of the transaction around it: an entry of an audit log that stays when the transaction is
 * rolled back, a look-up on another connection. It is not undone, and is done again whenever the handler is retried.
 * @example
 *   await outsideTransaction(() => this.auditLog.insert({ what: 'refused', orderId }));
 */
export function outsideTransaction<T>(work: () => T): T {
  return current.run(undefined, work);
}
