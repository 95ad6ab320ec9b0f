// Causes that a person can find and remove: a database refuses a change.
import { createConnection } from 'mysql2/promise';

export const TRIGGERS = {
  money: {
    app: 'payment',
    table: 'payment',
    on: 'INSERT',
    what: 'no payment can be written: every purchase but a declined one stops there',
  },
  stock: {
    app: 'inventory',
    table: 'stock',
    on: 'UPDATE',
    what: 'no stock can be changed: no purchase gets beyond that',
  },
  merchant: { app: 'order', table: 'payment_result', on: 'INSERT', what: 'the merchant answers 500: notifications' },
};

/** Returns what to tell. */
export async function setTrigger(world, name, state) {
  const { app, table, on, what } = TRIGGERS[name];
  const connection = await createConnection({ uri: world.databases[app], connectTimeout: 10_000 });
  try {
    await connection.query('DROP TRIGGER IF EXISTS demo_sabotage');
    if (state === 'off') return `mended: ${name}`;
    await connection.query(
      `CREATE TRIGGER demo_sabotage BEFORE ${on} ON ${table} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'sabotaged by npm run sabotage'`,
    );
    return `sabotaged: ${what} (table ${table} of the ${app} app)`;
  } finally {
    await connection.end();
  }
}
