import { type AppName, sql, type World } from './world.js';

/** A cause that a person can put right: an app's database refuses changes of a table, those that `when` is true of. */
export async function outOfOrder(
  world: World,
  app: AppName,
  table: string,
  { on = 'UPDATE', when = 'TRUE' }: { on?: 'UPDATE' | 'INSERT'; when?: string } = {},
): Promise<void> {
  await sql(
    world,
    app,
    `CREATE TRIGGER broken BEFORE ${on} ON ${table} FOR EACH ROW
     IF ${when} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'out of order'; END IF`,
  );
}

export async function mended(world: World, app: AppName): Promise<void> {
  await sql(world, app, 'DROP TRIGGER IF EXISTS broken');
}
