// Makes a part of the running demo fail until it is mended, so that what gives up can be seen, and brought to its end.
// Usage: npm run sabotage -- money|stock|merchant on|off
import { withWorlds } from './audit/worlds.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { prepare } from './prepare.mjs';

const USAGE = 'npm run sabotage -- money|stock|merchant on|off';

/** A cause that a person can find and remove: the database refuses the change. */
const PARTS = {
  money: { app: 'payment', table: 'payment', on: 'INSERT', what: 'no payment can be written: local messages and TCC' },
  stock: { app: 'inventory', table: 'stock', on: 'UPDATE', what: 'no stock can be changed: local messages' },
  merchant: { app: 'order', table: 'payment_result', on: 'INSERT', what: 'the merchant answers 500: notifications' },
};

async function main() {
  const { positionals } = readOptions(USAGE, { options: {} });
  const [name, state] = positionals;
  const part = PARTS[name];
  if (!part || !['on', 'off'].includes(state) || positionals.length > 2) throw new OperatorError(`usage: ${USAGE}`);
  await prepare({ builds: false });
  const found = await withWorlds('demo', { say: console.error }, async ([world]) => {
    if (world) await apply(world.databases[part.app], part, state);
    return Boolean(world);
  });
  if (!found) throw new OperatorError('there is no demo yet: "npm run demo" makes one');
  console.log(
    state === 'on' ? `sabotaged: ${part.what} (table ${part.table} of the ${part.app} app)` : `mended: ${name}`,
  );
  return 0;
}

async function apply(uri, { table, on }, state) {
  const { createConnection } = await import('mysql2/promise');
  const connection = await createConnection({ uri, connectTimeout: 10_000 });
  try {
    await connection.query('DROP TRIGGER IF EXISTS demo_sabotage');
    if (state === 'on')
      await connection.query(
        `CREATE TRIGGER demo_sabotage BEFORE ${on} ON ${table} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'sabotaged by npm run sabotage'`,
      );
  } finally {
    await connection.end();
  }
}

await runCommand(main);
