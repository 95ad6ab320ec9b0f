import type { EntityManager } from 'typeorm';

/** Options of `Tcc.run`. */
export interface TccRun {
  /** Time limit for all Tries together, in milliseconds, by the database's clock. */
  readonly timeoutMs?: number;
  /** The gid, 1 to 64 of [0-9A-Za-z_.:-]. A new id by default. */
  readonly gid?: string;
  /** Joins the registering commit, for example to store an Idempotency-Key. May run again after a deadlock. */
  readonly within?: (tx: EntityManager) => Promise<void>;
}
