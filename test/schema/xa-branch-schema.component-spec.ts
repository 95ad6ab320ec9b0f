import { expect, onTestFinished, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { dtx } from './dtx-command.js';

const library = libraryOf();

test('a branch database without its witness table names nest-dtx migrate, and is used after it', async () => {
  const sandbox = await freshSandbox('xa_branch_schema', { audited: false });
  for (const app of ['payment', 'inventory'] as const) await sql(sandbox, app, 'CREATE TABLE effect (n INT)');
  await dtx(['migrate'], sandbox.databases.payment);
  const service = await LittleService.start({
    sandbox,
    library,
    core: { migrate: 'check', reconnect: { firstMs: 50, factor: 1, capMs: 50 } },
    xa: { branches: { inventory: { url: sandbox.databases.inventory } }, acceptUnflushed: true },
  });
  onTestFinished(() => service.close());
  const write = () =>
    service.get(library.Xa).run(['payment', 'inventory'], async ({ payment, inventory }) => {
      await inventory.query('INSERT INTO effect VALUES (1)');
      await payment.query('INSERT INTO effect VALUES (1)');
    });
  await expect(write()).rejects.toThrow(
    /inventory has dtx-xa-witness at version none, not 1 \(.*npx nest-dtx migrate --schemes xa-participant there\)/,
  );
  await dtx(['migrate', '--schemes', 'xa-participant'], sandbox.databases.inventory);
  await until('the transaction commits', () => write().then(() => true));
  expect(await sql(sandbox, 'inventory', 'SELECT n FROM effect')).toEqual([{ n: 1 }]);
});
