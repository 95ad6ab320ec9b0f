// Causes that an operator can find and remove: a database rejects a change.
import { createConnection } from 'mysql2/promise';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';

interface Trigger {
  readonly app: App;
  readonly table: string;
  readonly on: 'INSERT' | 'UPDATE';
  readonly what: string;
}
export type TriggerName = 'money' | 'stock' | 'merchant';

const TRIGGERS: Record<TriggerName, Trigger> = {
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

export const isTriggerName = (name: string): name is TriggerName => Object.hasOwn(TRIGGERS, name);

/** Returns a line for the operator. */
export async function setTrigger(sandbox: Sandbox, name: TriggerName, state: 'on' | 'off'): Promise<string> {
  const { app, table, on, what } = TRIGGERS[name];
  const connection = await createConnection({ uri: sandbox.databases[app], connectTimeout: 10_000 });
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
