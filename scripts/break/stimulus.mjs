// What is sent so that an armed app has something to die of: a purchase, or a message that nobody can read.
import { randomUUID } from 'node:crypto';
import { askForPurchase, SCHEMES } from '../demo/purchase.mjs';
import { askForRestock, untilTold } from '../demo/restock.mjs';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const ANSWER_BOUND_MS = 120_000;

/**
 * Begins a purchase and keeps repeating the call, with the same Idempotency-Key, until it is answered.
 * @returns {{ what: string, answered: Promise<object>, findGid: (databases: object) => Promise<string | null> }}
 */
export function sendPurchase({ urls, scheme, wanted = BOOK, say }) {
  const key = randomUUID();
  const onFailure = sayOnce(say);
  const answered = askForPurchase(urls, scheme, wanted, { key, boundMs: ANSWER_BOUND_MS, timeoutMs: 5_000, onFailure });
  answered.catch(() => {}); // awaited later; until then nobody listens
  return {
    what: `${wanted.buyerId} buys ${wanted.quantity} x ${wanted.sku} (POST ${SCHEMES[scheme].path}, Idempotency-Key ${key})`,
    answered,
    findGid: (databases) => gidOfKey(databases, SCHEMES[scheme].app, key),
  };
}

/** Begins a restock in the same way; it has healed when the catalog shows what the answer said. */
export function sendRestock({ urls, say }) {
  const key = randomUUID();
  const asked = askForRestock(urls, { key, boundMs: ANSWER_BOUND_MS, timeoutMs: 5_000, onFailure: sayOnce(say) });
  asked.catch(() => {}); // awaited later; until then nobody listens
  return {
    what: `10 x book come in (POST /restocks, Idempotency-Key ${key})`,
    answered: Promise.resolve(null),
    findGid: (databases) => gidOfKey(databases, 'inventory', key),
    isHealed: async (boundMs) => untilTold(urls, (await asked).available, { boundMs }),
  };
}

function sayOnce(say) {
  let told = false;
  return (why) => {
    if (!told) say(`the client got no answer (${why}): it repeats the call with the same Idempotency-Key`);
    told = true;
  };
}

/** The key's row is committed with the purchase: it names the order even when no answer came. */
async function gidOfKey(databases, app, key) {
  const rows = await databases.query(app, 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [
    Buffer.from(key),
  ]);
  return rows[0]?.gid ?? null;
}

const UNREADABLE = {
  'local-message': { type: 'order.placed.v1', consumer: 'inventory.take-stock' },
  'half-message': { type: 'flash.sold.v1', consumer: 'payment.take-flash-money' },
};

/** Puts a message of a scheme into a queue that is of the right type and not JSON. */
export async function sendUnreadable({ world }, scheme) {
  const { type, consumer } = UNREADABLE[scheme];
  const queue = `dtx.${consumer}.v1`;
  const { connect } = await import('amqplib');
  const [gid, messageId] = [randomUUID(), randomUUID()];
  const connection = await connect(world.rabbitmq, { timeout: 10_000 });
  try {
    const channel = await connection.createConfirmChannel();
    const headers = { 'dtx-scheme': scheme };
    channel.sendToQueue(queue, Buffer.from('not JSON'), {
      messageId,
      type,
      correlationId: gid,
      persistent: true,
      headers,
    });
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

/** What is left when a decision log has lost its end: the witness of a branch that was committed, and no decision. */
export async function loseDecision({ world }) {
  const [{ createConnection }, { v7 }] = await Promise.all([import('mysql2/promise'), import('uuid')]);
  const order = await createConnection({ uri: world.databases.order, connectTimeout: 10_000 });
  const payment = await createConnection({ uri: world.databases.payment, connectTimeout: 10_000 });
  try {
    const [[log]] = await order.query(
      `SELECT log_id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms FROM dtx_xa_log`,
    );
    const id = v7({ msecs: Number(log.ms) - 10_000 });
    await payment.query(
      `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`,
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
