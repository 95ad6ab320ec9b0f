// What is sent so that an armed app has something to die of: a purchase, or a message that nobody can read.
import { randomUUID } from 'node:crypto';
import { askForPurchase, SCHEMES } from '../demo/purchase.mjs';

const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };
const ANSWER_BOUND_MS = 120_000;

/**
 * Begins a purchase and keeps repeating the call, with the same Idempotency-Key, until it is answered.
 * @returns {{ what: string, answered: Promise<object>, findGid: (databases: object) => Promise<string | null> }}
 */
export function sendPurchase({ urls, scheme, say }) {
  const key = randomUUID();
  let told = false;
  const onFailure = (why) => {
    if (!told) say(`the client got no answer (${why}): it repeats the call with the same Idempotency-Key`);
    told = true;
  };
  const answered = askForPurchase(urls, scheme, WANTED, { key, boundMs: ANSWER_BOUND_MS, timeoutMs: 5_000, onFailure });
  answered.catch(() => {}); // awaited later; until then nobody listens
  return {
    what: `${WANTED.buyerId} buys ${WANTED.quantity} x ${WANTED.sku} (POST ${SCHEMES[scheme].path}, Idempotency-Key ${key})`,
    answered,
    findGid: (databases) => gidOfKey(databases, SCHEMES[scheme].app, key),
  };
}

/** The key's row is committed with the purchase: it names the order even when no answer came. */
async function gidOfKey(databases, app, key) {
  const rows = await databases.query(app, 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [
    Buffer.from(key),
  ]);
  return rows[0]?.gid ?? null;
}

const UNREADABLE = { queue: 'dtx.inventory.take-stock.v1', type: 'order.placed.v1', consumer: 'inventory.take-stock' };

/** Puts a message into a queue that is of the right type and not JSON. */
export async function sendUnreadable({ world }) {
  const { connect } = await import('amqplib');
  const [gid, messageId] = [randomUUID(), randomUUID()];
  const connection = await connect(world.rabbitmq, { timeout: 10_000 });
  try {
    const channel = await connection.createConfirmChannel();
    const headers = { 'dtx-scheme': 'local-message' };
    channel.sendToQueue(UNREADABLE.queue, Buffer.from('not JSON'), {
      messageId,
      type: UNREADABLE.type,
      correlationId: gid,
      persistent: true,
      headers,
    });
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
  return {
    what: `a message of type ${UNREADABLE.type} that is not JSON lies in ${UNREADABLE.queue}`,
    answered: Promise.resolve(null),
    findGid: async () => gid,
    parkedId: `${messageId}.${UNREADABLE.consumer}`,
  };
}
