// What may lie open inside the database servers themselves: old transactions, and prepared XA branches.
import { preparedOn } from './xa-branches.mjs';

/** The schemes keep their transactions short; one this old is stuck, or was left behind by a process that is gone. */
export const OLD_AFTER_S = 5;

/**
 * Transactions older than the bound: those of the world's database, and those that belong to no connection at all (on
 * MariaDB a branch that a reset connection had prepared shows itself here and nowhere else). Prepared branches that the
 * server lists have no connection either: those of the world are told by `preparedBranches`, others are none of its own.
 */
export async function oldTransactions(databases) {
  const before = await preparedCounts(databases);
  const old = [];
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

async function preparedCounts(databases) {
  const counts = {};
  for (const { app } of await preparedOn(databases)) counts[app] = (counts[app] ?? 0) + 1;
  return counts;
}

async function oldOnes(databases, app) {
  const [{ db }] = await databases.query(app, 'SELECT DATABASE() AS db');
  const databaseOf = new Map((await databases.query(app, 'SHOW PROCESSLIST')).map((row) => [Number(row.Id), row.db]));
  return (await openOnes(databases, app)).flatMap(({ thread, state, age }) => {
    const owner = databaseOf.get(Number(thread));
    if (Number(age) < OLD_AFTER_S || (owner !== undefined && owner !== db)) return [];
    const line = `${app}: transaction of connection ${thread}, ${state}, open for ${age} s`;
    return [{ app, isUnowned: owner === undefined, line }];
  });
}

/** Open transactions of a server. `trx_started` is in the server's own time zone, whatever the session's is. */
export async function openOnes(databases, app) {
  await databases.query(app, "SET SESSION time_zone = 'SYSTEM'");
  try {
    return await databases.query(
      app,
      `SELECT trx_mysql_thread_id AS thread, trx_state AS state, trx_rows_locked AS locked, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS age
       FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> CONNECTION_ID()`,
    );
  } finally {
    await databases.query(app, "SET SESSION time_zone = '+00:00'");
  }
}

/**
 * Prepared branches of the world's own decision log. Branches belong to a server, not to a database, so those of other
 * worlds and other programs are on the same list: they are theirs to end, and `npm run xa-doctor` shows them.
 */
export async function preparedBranches(databases) {
  const own = (await preparedOn(databases)).filter(({ whose }) => whose === 'own');
  return own.map(({ app, id, branch }) => `${app}: prepared XA branch ${branch} of transaction ${id}`);
}
