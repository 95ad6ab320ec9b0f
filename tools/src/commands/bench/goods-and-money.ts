// Goods and money for the purchases of a bench: more than it can use up.
import { createConnection } from 'mysql2/promise';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { isOurs, type Kind } from './cases.js';
import { buyerOf, ITEMS, skuOf } from './load.js';

const PLENTY = 1_000_000_000;

/** By SQL, since a thousand calls for each would be slow. The peers have the columns of the naive shop. */
export async function fill({ databases }: Sandbox, kind: Kind): Promise<void> {
  const isPlain = !isOurs(kind);
  const numbers = Array.from({ length: ITEMS }, (_, n) => n);
  const stock = isPlain
    ? { sql: 'INSERT INTO stock (sku, available) VALUES ?', rows: numbers.map((n) => [skuOf(n), PLENTY]) }
    : {
        sql: 'INSERT INTO stock (sku, available, reserved, sold, opening, version) VALUES ?',
        rows: numbers.map((n) => [skuOf(n), PLENTY, 0, 0, PLENTY, 1]),
      };
  const accounts = isPlain
    ? { sql: 'INSERT INTO account (buyer_id, balance) VALUES ?', rows: numbers.map((n) => [buyerOf(n), PLENTY]) }
    : {
        sql: 'INSERT INTO account (buyer_id, balance, frozen, captured, opening) VALUES ?',
        rows: numbers.map((n) => [buyerOf(n), PLENTY, 0, 0, PLENTY]),
      };
  await insert(databases.inventory, stock);
  await insert(databases.payment, accounts);
}

async function insert(uri: string, { sql, rows }: { sql: string; rows: unknown[][] }): Promise<void> {
  const connection = await createConnection(uri);
  await connection.query(sql, [rows]).finally(() => connection.end());
}
