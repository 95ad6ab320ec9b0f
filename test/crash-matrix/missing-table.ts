import type { AppName } from '../fixtures/sandbox.js';
import { sql } from '../fixtures/sandbox.js';
import type { Row } from './matrix-types.js';

/** Makes every handler of an app fail while one of its tables is renamed. */
export function tableAway(app: AppName, table: string): NonNullable<Row['arrange']> {
  return async ({ sandbox }) => {
    await sql(sandbox, app, `RENAME TABLE ${table} TO ${table}_away`);
    return async () => void (await sql(sandbox, app, `RENAME TABLE ${table}_away TO ${table}`));
  };
}
