/** The table in which the participants of a test record their effects. */
import type { EntityManager } from 'typeorm';
import { type Sandbox, sql } from '../fixtures/sandbox.js';

export const EFFECTS =
  'CREATE TABLE IF NOT EXISTS effect (n INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), phase VARCHAR(8), KEY (gid))';

/** Writes an effect down in the transaction of the participant that had it. */
export const write = (tx: EntityManager, gid: string, phase: string): Promise<unknown> =>
  tx.query('INSERT INTO effect (gid, phase) VALUES (?, ?)', [gid, phase]);

/** The effects of a transaction, in order. */
export async function effectsOf(sandbox: Sandbox, gid: string): Promise<string> {
  const rows = await sql<{ phase: string }>(sandbox, 'payment', 'SELECT phase FROM effect WHERE gid = ? ORDER BY n', [
    gid,
  ]);
  return rows.map(({ phase }) => phase).join(' ');
}
