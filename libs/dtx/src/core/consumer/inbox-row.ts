import type { DurableRow } from '../durable/durable-table.js';
import type { Incoming } from './incoming-message.js';

/** A delivery as it is stored. */
export type HeldRow = DurableRow<{
  message_id: string;
  consumer: string;
  gid: string | null;
  scheme: string;
  type: string | null;
  body: Buffer | null;
  reply_to: string | null;
  traceparent: string | null;
  created_at: Date | string;
  /** By the database's clock, as of the claim. */
  age_ms?: number | string;
  /** Set while the row is still open: its business is committed, and what comes before the ack is not done yet. */
  settled_at: Date | string | null;
  /** Whether something comes before the ack where it was taken: only an instance that has that too may end it. */
  before_ack: number | boolean;
}>;

/** The stored row as the message that it was. */
export function incomingOfRow(row: HeldRow): Incoming {
  return {
    id: row.id,
    // Stored under the id it has now: retried by a person, it is handled like any other.
    isNamed: true,
    info: {
      messageId: row.message_id,
      consumer: row.consumer,
      gid: row.gid,
      scheme: row.scheme,
      traceparent: row.traceparent,
    },
    type: row.type,
    replyTo: row.reply_to,
    madeAtMs: undefined,
    body: row.body ?? Buffer.alloc(0),
  };
}
