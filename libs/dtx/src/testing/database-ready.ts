import { withTimeout } from '../core/async/with-timeout.js';
import type { Database } from '../core/database/database.service.js';
import { DtxError } from '../core/errors/errors.js';

/** Waits until a database is open and migrated. @throws DtxError after the time limit in milliseconds */
export async function untilDatabaseReady(database: Database, withinMs: number): Promise<void> {
  const ready = new Promise<void>((resolve) => database.onReady(resolve));
  await withTimeout(withinMs, ready, () => {
    const reason = database.problem || 'call app.init() first, and check its address';
    throw new DtxError(`the database of the app is not ready after ${withinMs} ms: ${reason}`);
  });
}
