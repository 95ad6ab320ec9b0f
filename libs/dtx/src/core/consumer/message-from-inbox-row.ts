import type { DurableRow } from '../durable/durable-table.js';
import type { Incoming } from './incoming-message.js';

/** A row of `dtx_inbox` with its delivery. */
export type InboxRow = DurableRow<{
  message_id: string;
  consumer: string;
  gid: string | null;
  scheme: string;
  type: string | null;
  body: Buffer | null;
  reply_to: string | null;
  traceparent: string | null;
  created_at: Date | string;
  /** The age by the database clock at the time of the claim. */
  age_ms?: number | string;
  /** Set on an open row if the business is committed and `@BeforeAck` remains. */
  settled_at: Date | string | null;
  /**
   * Whether the consumer that stored the row has a `@BeforeAck`. Only an instance with that `@BeforeAck` may end the
   * row.
   */
  before_ack: number | boolean;
}>;

/** Rebuilds the message from its stored row. */
export function incomingOfRow(row: InboxRow): Incoming {
  return {
    id: row.id,
    // The row carries the current id. An operator retry handles it like any other message.
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
