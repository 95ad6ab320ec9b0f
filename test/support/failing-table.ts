import { type AppName, sql, type World } from './world.js';

interface Refusal {
  readonly name: string;
  readonly on?: 'UPDATE' | 'INSERT';
  /** Of the changed row, as SQL. */
  readonly when: string;
  readonly message: string;
}

/** An app's database refuses changes of a table inside the app's own transaction: a failure without a switch in the product. */
function refuse(world: World, app: AppName, table: string, { name, on = 'UPDATE', when, message }: Refusal) {
  return sql(
    world,
    app,
    `CREATE TRIGGER ${name} BEFORE ${on} ON ${table} FOR EACH ROW
     IF ${when} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '${message}'; END IF`,
  );
}

/** A cause that a person can remove: changes of a table are refused, or those of rows for which `when` is true. */
export async function outOfOrder(
  world: World,
  app: AppName,
  table: string,
  { on, when = 'TRUE' }: { on?: 'UPDATE' | 'INSERT'; when?: string } = {},
): Promise<void> {
  await refuse(world, app, table, { name: 'broken', on, when, message: 'out of order' });
}

/** Ends what `outOfOrder` began. */
export async function mended(world: World, app: AppName): Promise<void> {
  await sql(world, app, 'DROP TRIGGER IF EXISTS broken');
}

/** Changes of the stock of listed skus are refused. Call once per world, after the apps have migrated. */
export async function breakableStock(world: World) {
  const run = (query: string, values: unknown[] = []) => sql(world, 'inventory', query, values);
  await run('CREATE TABLE test_broken AS SELECT sku FROM stock WHERE FALSE');
  const when = 'EXISTS (SELECT 1 FROM test_broken WHERE sku = NEW.sku)';
  await refuse(world, 'inventory', 'stock', { name: 'test_broken_stock', when, message: 'broken by the test' });
  return {
    break: (sku: string) => run('INSERT INTO test_broken (sku) VALUES (?)', [sku]),
    repair: (sku: string) => run('DELETE FROM test_broken WHERE sku = ?', [sku]),
  };
}
