// The floor of a relay: one claim and one mark per batch, with the guarantees of the library, and the publishes between them. It
// shares nothing fairly between consumers, as the relay does by a look before each claim, and knows no backlog and no trace.
import { randomUUID } from 'node:crypto';
import { type ConfirmChannel, connect } from 'amqplib';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { declareSinks, queueOfSink } from './sinks.js';

const TABLE = 'bench_outbox';
const BATCH = 200;
/** Batches at once: one is claimed or marked while another one is published. Two were 9 % slower. */
const LANES = 4;

interface Row extends RowDataPacket {
  readonly id: string;
  readonly payload: string;
  readonly awaiting: string;
  readonly gid: string;
  readonly made_at_ms: string;
}

/** Rows per second to SENT, with a copy of the rows of dtx_outbox whose ids begin with `prefix`. */
export async function bareRelayPerSecond({ databases, rabbitmq }: Sandbox, prefix: string): Promise<number> {
  const pool = createPool({ uri: databases.order, connectionLimit: LANES });
  const connection = await connect(rabbitmq);
  try {
    const channel = await connection.createConfirmChannel();
    await declareSinks(channel);
    await fill(pool, prefix);
    const since = performance.now();
    const sent = await Promise.all(Array.from({ length: LANES }, () => relayAll(pool, channel)));
    return sent.reduce((sum, one) => sum + one) / ((performance.now() - since) / 1_000);
  } finally {
    await connection.close();
    await pool.end();
  }
}

async function fill(pool: Pool, prefix: string): Promise<void> {
  await pool.query(`CREATE TABLE ${TABLE} LIKE dtx_outbox`);
  await pool.query(`INSERT INTO ${TABLE} SELECT * FROM dtx_outbox WHERE id LIKE ?`, [`${prefix}%`]);
  await pool.query(
    `UPDATE ${TABLE} SET state = 'PENDING', next_attempt_at = UTC_TIMESTAMP(3), attempts = 0, claim_token = NULL, sent_at = NULL`,
  );
}

async function relayAll(pool: Pool, channel: ConfirmChannel): Promise<number> {
  for (let sent = 0; ; ) {
    const token = randomUUID();
    const rows = await claim(pool, token);
    if (rows.length === 0) return sent;
    await Promise.all(rows.map((row) => publish(channel, row)));
    await pool.query(
      `UPDATE ${TABLE} SET state = 'SENT', next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL 1 MINUTE, attempts = attempts + 1,
       claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3))
       WHERE id IN (?) AND claim_token = ? AND state IN ('PENDING', 'SENT')`,
      [rows.map(({ id }) => id).sort(), token],
    );
    sent += rows.length;
  }
}

async function claim(pool: Pool, token: string): Promise<Row[]> {
  const session = await pool.getConnection();
  try {
    await session.beginTransaction();
    const [rows] = await session.query<Row[]>(
      `SELECT id, state, attempts, claim_token, gid, contract, version, payload, awaiting, traceparent, route, sent_at,
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created_at) DIV 1000 AS made_at_ms
       FROM ${TABLE} FORCE INDEX (due) WHERE next_attempt_at <= UTC_TIMESTAMP(3)
       ORDER BY next_attempt_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
    );
    if (rows.length > 0)
      await session.query(
        `UPDATE ${TABLE} SET claim_token = ?, next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL 30 SECOND WHERE id IN (?)`,
        [token, rows.map(({ id }) => id)],
      );
    await session.commit();
    return rows;
  } finally {
    session.release();
  }
}

function publish(channel: ConfirmChannel, row: Row): Promise<void> {
  const options = {
    persistent: true,
    mandatory: true,
    messageId: row.id,
    type: 'order.placed.v1',
    correlationId: row.gid,
    contentType: 'application/json',
    replyTo: 'dtx.receipts.order',
    headers: { 'dtx-scheme': 'local-message', 'dtx-made-at': String(row.made_at_ms) },
  };
  const queue = queueOfSink(row.awaiting.slice(1, -1));
  return new Promise((resolve, reject) => {
    channel.sendToQueue(queue, Buffer.from(row.payload), options, (error) => (error ? reject(error) : resolve()));
  });
}
