import { type AppName, sql, type World } from './world.js';

/**
 * Rows that the database server of an app has read since its start, in any index or table. Other spec files use the
 * server too, so a bound on a difference must leave room for them.
 */
export async function rowsRead(world: World, app: AppName): Promise<number> {
  const counters = await sql<{ Value: string }>(
    world,
    app,
    `SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_prev', 'Handler_read_rnd_next')`,
  );
  return counters.reduce((sum, { Value }) => sum + Number(Value), 0);
}
