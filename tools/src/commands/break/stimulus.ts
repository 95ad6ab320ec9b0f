// The work that leads the armed app to its failpoint: a purchase, a restock, or a damaged message or row.

import { randomUUID } from 'node:crypto';
import { type ChannelModel, connect } from 'amqplib';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { queueOf } from 'nest-dtx';
import { tableNames } from 'nest-dtx/testing';
import { v7 } from 'uuid';
import type { Say } from '../../cli/say-type.js';
import type { Databases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';
import {
  type AskedPurchase,
  askForPurchase,
  type PurchaseScheme,
  SCHEMES,
  type Urls,
  type Wanted,
} from '../../shop/purchase.js';
import { askForRestock, untilTold } from '../../shop/restock.js';

/** The usual purchase. */
export const BOOK: Wanted = { buyerId: 'alice', sku: 'book', quantity: 1 };
const ANSWER_BOUND_MS = 120_000;

export interface Stimulus {
  /** A line for the reader. */
  readonly what: string;
  /** Null if no purchase is involved. */
  readonly answered: Promise<AskedPurchase | null>;
  /** The id of the work, as soon as a row has it. */
  findGid(databases: Databases): Promise<string | null>;
  /** Replaces the look at the rows of the id. */
  isHealed?(boundMs: number): Promise<boolean>;
  /** The inbox row that will be parked. */
  readonly parkedId?: string;
}

/** Begins a purchase and repeats the call with the same Idempotency-Key until it is answered. */
export function sendPurchase(urls: Urls, scheme: PurchaseScheme, wanted: Wanted = BOOK, say: Say): Stimulus {
  const key = randomUUID();
  const onFailure = sayOnce(say);
  const answered = askForPurchase(urls, scheme, wanted, { key, boundMs: ANSWER_BOUND_MS, timeoutMs: 5_000, onFailure });
  answered.catch(() => {}); // awaited later: an early rejection must not end the process
  return {
    what: `${wanted.buyerId} buys ${wanted.quantity} x ${wanted.sku} (POST ${SCHEMES[scheme].path}, Idempotency-Key ${key})`,
    answered,
    findGid: (databases) => gidOfKey(databases, SCHEMES[scheme].app, key),
  };
}

/** Begins a restock in the same way. It has healed when the catalog shows the stock of the answer. */
export function sendRestock(urls: Urls, say: Say): Stimulus {
  const key = randomUUID();
  const asked = askForRestock(urls, { key, boundMs: ANSWER_BOUND_MS, timeoutMs: 5_000, onFailure: sayOnce(say) });
  asked.catch(() => {}); // awaited later: an early rejection must not end the process
  return {
    what: `10 x book come in (POST /restocks, Idempotency-Key ${key})`,
    answered: Promise.resolve(null),
    findGid: (databases) => gidOfKey(databases, 'inventory', key),
    isHealed: async (boundMs) => untilTold(urls, (await asked).available, { boundMs }),
  };
}

function sayOnce(say: Say): (why: string) => void {
  let told = false;
  return (why) => {
    if (!told) say(`the client got no answer (${why}): it repeats the call with the same Idempotency-Key`);
    told = true;
  };
}

/** The row of the key is committed with the purchase, so it names the order even without an answer. */
async function gidOfKey(databases: Databases, app: App, key: string): Promise<string | null> {
  const sql = `SELECT gid FROM ${tableNames.idempotency} WHERE idempotency_key = ?`;
  const rows = await databases.query<{ gid: string }>(app, sql, [Buffer.from(key)]);
  return rows[0]?.gid ?? null;
}

/** Sends a message of the scheme's type that is not JSON. */
export async function sendUnreadable(sandbox: Sandbox, scheme: PurchaseScheme): Promise<Stimulus> {
  const { type, consumer } =
    scheme === 'half-message'
      ? { type: 'flash.sold.v1', consumer: 'payment.take-flash-money' }
      : { type: 'order.placed.v1', consumer: 'inventory.take-stock' };
  const [gid, messageId] = [randomUUID(), randomUUID()];
  const connection = await connect(sandbox.rabbitmq, { timeout: 10_000 });
  let queue: string;
  try {
    queue = await existingQueue(connection, queueOf(consumer, 1));
    const channel = await connection.createConfirmChannel();
    const headers = { 'dtx-scheme': scheme };
    const properties = { messageId, type, correlationId: gid, persistent: true, headers };
    channel.sendToQueue(queue, Buffer.from('not JSON'), properties);
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
  return {
    what: `a message of type ${type} that is not JSON lies in ${queue}`,
    answered: Promise.resolve(null),
    findGid: async () => gid,
    parkedId: `${messageId}.${consumer}`,
  };
}

/**
 * The queue as the apps consume it: a quorum queue unless option `queues` is `classic`. The broker confirms and drops what
 * is sent to a queue that does not exist.
 */
async function existingQueue(connection: ChannelModel, name: string): Promise<string> {
  const channel = await connection.createChannel();
  channel.on('error', () => {}); // a queue that does not exist closes the channel
  return channel.checkQueue(`${name}.quorum`).then(
    ({ queue }) => queue,
    () => name,
  );
}

/** Writes the traces of a decision log that has lost its end: the witness of a committed branch without a decision. */
export async function loseDecision(sandbox: Sandbox): Promise<Stimulus> {
  const order = await createConnection({ uri: sandbox.databases.order, connectTimeout: 10_000 });
  const payment = await createConnection({ uri: sandbox.databases.payment, connectTimeout: 10_000 });
  try {
    const [rows] = await order.query<RowDataPacket[]>(
      `SELECT log_id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms FROM ${tableNames.xaLog}`,
    );
    const log = rows[0] as { log_id: string; ms: number };
    const id = v7({ msecs: Number(log.ms) - 10_000 });
    await payment.query(
      `INSERT INTO ${tableNames.xaWitness} (gtrid, branch, who, created_at) VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`,
      [`${log.log_id}.001388.${id}`],
    );
    return {
      what: `the payment database has committed a branch of XA transaction ${id}, which the log does not know`,
      answered: Promise.resolve(null),
      findGid: async () => 'xa-log',
    };
  } finally {
    await Promise.all([order.end(), payment.end()]);
  }
}
