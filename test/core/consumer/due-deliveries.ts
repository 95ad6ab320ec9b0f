import { randomUUID } from 'node:crypto';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';

/** Stores deliveries of a contract that are due, as a process that was stopped has left them. */
export async function storeDue(
  sandbox: Sandbox,
  { name }: { name: string },
  { count, due }: { count: number; due: string },
): Promise<void> {
  const consumer = name.replace('test.', 'payment.');
  const rows = Array.from({ length: count }, (_, n) => {
    const messageId = randomUUID();
    const gid = `${name}-${n}`;
    const body = JSON.stringify({ gid });
    return [`${consumer}:${messageId}`, messageId, consumer, gid, 'local-message', `${name}.v1`, body, due];
  });
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, body, next_attempt_at, state, created_at)
     VALUES ${rows.map(() => `(?, 'RETRYING', UTC_TIMESTAMP(3))`).join(', ')}`,
    rows,
  );
}
