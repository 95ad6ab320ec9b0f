import { databaseOptions, type Env } from '@nest-dtx/host';
import type { BranchDatabase, DtxMigration } from 'nest-dtx';
import { Account } from './accounts/account.entity.js';
import { accountsMigrations } from './accounts/migrations.js';
import { Payment } from './accounts/payment.entity.js';
import { stockMigrations } from './stock/migrations.js';
import { Stock } from './stock/stock.entity.js';

/**
 * The branch databases of the order app. They belong to the other apps, which migrate them. The order app runs the same
 * business rules there, and only with the schema versions that it knows.
 */
export function xaBranches({ xaPaymentDatabaseUrl, xaInventoryDatabaseUrl }: Env): Record<string, BranchDatabase> {
  if (xaPaymentDatabaseUrl === undefined || xaInventoryDatabaseUrl === undefined) return {};
  return {
    payment: {
      ...place(xaPaymentDatabaseUrl),
      entities: [Account, Payment],
      schema: { payment: versionOf(accountsMigrations) },
    },
    inventory: {
      ...place(xaInventoryDatabaseUrl),
      entities: [Stock],
      schema: { inventory: versionOf(stockMigrations) },
    },
  };
}

/** The library reads the address from the URL. The options after the `?` are passed on separately. */
function place(url: string): Pick<BranchDatabase, 'url' | 'options'> {
  const { ssl, extra } = databaseOptions(url);
  return { url, options: { ...extra, ...(ssl ? { ssl } : {}) } };
}

const versionOf = (migrations: readonly DtxMigration[]): number =>
  Math.max(...migrations.map(({ version }) => version));
