// Old transactions and prepared XA branches inside the database servers.
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import { preparedOn } from './xa-prepared-branches.js';

/** The schemes keep their transactions short. An older transaction is stuck, or its process has died. */
export const OLD_AFTER_S = 5;

interface OpenTransaction {
  thread: number | bigint;
  state: string;
  locked: number | bigint;
  age: number | bigint;
}

interface OldTransaction {
  readonly app: App;
  /** It belongs to no connection. */
  readonly isUnowned: boolean;
  readonly line: string;
}

/**
 * Transactions older than the limit: those of the sandbox's database, and those that belong to no connection at all (on
 * MariaDB a branch that a reset connection had prepared is visible only here). Prepared branches that the server lists have
 * no connection either: `preparedBranches` lists those of the sandbox, others belong to other programs.
 */
export async function oldTransactions(databases: Databases): Promise<string[]> {
  const before = await preparedCounts(databases);
  const old: OldTransaction[] = [];
  for (const app of databases.apps) old.push(...(await oldOnes(databases, app)));
  // Looked at on both sides of the list: a branch may be prepared, or be ended, just then.
  const after = await preparedCounts(databases);
  return databases.apps.flatMap((app) => {
    const here = old.filter((one) => one.app === app);
    const listed = Math.max(before[app] ?? 0, after[app] ?? 0);
    const unowned = here.filter(({ isUnowned }) => isUnowned).slice(listed);
    return [...here.filter(({ isUnowned }) => !isUnowned), ...unowned].map(({ line }) => line);
  });
}

/** A row of SHOW PROCESSLIST. */
export interface Session {
  Id: number | bigint;
  db: string | null;
}

async function preparedCounts(databases: Databases): Promise<Partial<Record<App, number>>> {
  const counts: Partial<Record<App, number>> = {};
  for (const { app } of await preparedOn(databases)) counts[app] = (counts[app] ?? 0) + 1;
  return counts;
}

async function oldOnes(databases: Databases, app: App): Promise<OldTransaction[]> {
  const [here] = await databases.query<{ db: string }>(app, 'SELECT DATABASE() AS db');
  const sessions = await databases.query<Session>(app, 'SHOW PROCESSLIST');
  const databaseOf = new Map(sessions.map((row) => [Number(row.Id), row.db]));
  return (await openOnes(databases, app)).flatMap(({ thread, state, age }) => {
    const owner = databaseOf.get(Number(thread));
    if (Number(age) < OLD_AFTER_S || (owner !== undefined && owner !== here!.db)) return [];
    const line = `${app}: transaction of connection ${thread}, ${state}, open for ${age} s`;
    return [{ app, isUnowned: owner === undefined, line }];
  });
}

/** Open transactions of a server. `trx_started` is in the server's own time zone, whatever the session's is. */
export async function openOnes(databases: Databases, app: App): Promise<OpenTransaction[]> {
  await databases.query(app, "SET SESSION time_zone = 'SYSTEM'");
  try {
    return await databases.query<OpenTransaction>(
      app,
      `SELECT trx_mysql_thread_id AS thread, trx_state AS state, trx_rows_locked AS locked, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS age
       FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> CONNECTION_ID()`,
    );
  } finally {
    await databases.query(app, "SET SESSION time_zone = '+00:00'");
  }
}

/**
 * Prepared branches of the sandbox's own decision log. Branches belong to a server, not to a database, so the list of the
 * server has those of other sandboxes and programs too. `npm run xa-doctor` shows them.
 */
export async function preparedBranches(databases: Databases): Promise<string[]> {
  const own = (await preparedOn(databases)).filter(({ whose }) => whose === 'own');
  return own.map(({ app, id, branch }) => `${app}: prepared XA branch ${branch} of transaction ${id}`);
}
