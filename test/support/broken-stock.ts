import { sql, type World } from './world.js';

/**
 * Makes every change of chosen skus' stock fail, inside the inventory app's own transaction, as long as they are
 * listed: a handler that throws, without a switch in the product. Call once per world, after the apps have migrated.
 */
export async function breakableStock(world: World) {
  const run = (query: string, values: unknown[] = []) => sql(world, 'inventory', query, values);
  await run('CREATE TABLE test_broken AS SELECT sku FROM stock WHERE FALSE');
  await run(`CREATE TRIGGER test_broken_stock BEFORE UPDATE ON stock FOR EACH ROW
    IF EXISTS (SELECT 1 FROM test_broken WHERE sku = NEW.sku) THEN
      SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'broken by the test';
    END IF`);
  return {
    break: (sku: string) => run('INSERT INTO test_broken (sku) VALUES (?)', [sku]),
    repair: (sku: string) => run('DELETE FROM test_broken WHERE sku = ?', [sku]),
  };
}
