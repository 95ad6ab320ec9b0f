import type { Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { type AppName, sql } from '../fixtures/world.js';
import type { Row } from './row.js';

/**
 * Every handler of an app fails while a table is away. Before each further purchase the held ones are let through: the
 * victim retries them as well, and stopped in the middle of such a retry it would keep the table from coming back (a
 * statement that failed holds its metadata lock until its transaction ends: MySQL manual, "Metadata Locking").
 */
export function tableAway(app: AppName, table: string): Required<Pick<Row, 'arrange' | 'beforeNext'>> {
  const away = ({ world }: Stack) => sql(world, app, `RENAME TABLE ${table} TO ${table}_away`);
  const back = ({ world }: Stack) => sql(world, app, `RENAME TABLE ${table}_away TO ${table}`);
  const held = ({ world }: Stack) => sql(world, app, `SELECT id FROM dtx_inbox WHERE state = 'RETRYING'`);
  return {
    async arrange(shop) {
      await away(shop);
      return async () => void (await back(shop));
    },
    async beforeNext(shop) {
      await back(shop);
      await until('what was held is handled', async () => (await held(shop)).length === 0, { withinMs: 15_000 });
      await away(shop);
    },
  };
}
