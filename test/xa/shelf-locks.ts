import { createConnection } from 'mysql2/promise';
import { statementsNow } from '../fixtures/running-statements.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

/** ER_LOCK_NOWAIT, and ER_LOCK_WAIT_TIMEOUT of MariaDB. */
const LOCKED = [3572, 1205];

/** Whether a transaction has locked a shelf of `prepareTables`. */
export const isLocked = (sandbox: Sandbox, at: AppName, shelf: number): Promise<boolean> =>
  sql(sandbox, at, 'SELECT n FROM shelf WHERE id = ? FOR UPDATE NOWAIT', [shelf]).then(
    () => false,
    (error) => {
      if (LOCKED.includes(error.errno)) return true;
      throw error;
    },
  );

/** A shelf that is locked until `end`. */
export async function heldShelf(sandbox: Sandbox, at: AppName, shelf: number) {
  const holder = await createConnection({ uri: sandbox.databases[at] });
  await holder.beginTransaction();
  await holder.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [shelf]);
  const waiting = () => statementsNow(sandbox, at, '%UPDATE shelf SET%');
  return {
    untilWaitedFor: () => until(`a transaction waits for shelf ${shelf}`, async () => (await waiting()) > 0),
    end: () => holder.end(),
  };
}
