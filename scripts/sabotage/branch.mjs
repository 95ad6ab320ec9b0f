// A mishap that no protocol can prevent: between the decision and its being carried out, somebody rolls a prepared XA
// branch back by hand. And what a person does about it.
import { createConnection } from 'mysql2/promise';
import { openDatabases } from '../audit/databases.mjs';
import { openOnes } from '../audit/open-transactions.mjs';
import { preparedOn } from '../audit/xa-branches.mjs';
import { until } from '../command/deadline.mjs';
import { OperatorError } from '../command/entry.mjs';
import { askForPurchase } from '../demo/purchase.mjs';

const WANTED = { buyerId: 'alice', sku: 'mug', quantity: 1 };
const BOUND_MS = 20_000;
/** Long enough to meet the branch between its PREPARE and its COMMIT, and well within the deadline of 5 s. */
const DECISION_SECONDS = 2;

/** Buys something by XA, and takes the money's branch away while the decision is being written. Returns what to tell. */
export async function rollBackByHand(world, urls) {
  const databases = await openDatabases(world);
  const orders = await createConnection({ uri: world.databases.order, connectTimeout: 10_000 });
  try {
    await orders.query('DROP TRIGGER IF EXISTS demo_slow_decision');
    await orders.query(
      `CREATE TRIGGER demo_slow_decision BEFORE INSERT ON dtx_xa FOR EACH ROW
       SET @demo_slow_decision = IF(NEW.decision = 'COMMIT', SLEEP(${DECISION_SECONDS}), 0)`,
    );
    const before = new Set((await ownAtPayment(databases)).map(({ id }) => id));
    const bought = askForPurchase(urls, 'xa', WANTED, { boundMs: BOUND_MS });
    bought.catch(() => {}); // awaited later; until then nobody listens
    const look = async () => (await ownAtPayment(databases)).find(({ id }) => !before.has(id)) ?? null;
    const branch = await until(look, { boundMs: BOUND_MS, everyMs: 20 });
    if (!branch) throw new OperatorError('no branch was prepared: is everything up? "npm run audit" tells');
    await endByHand(databases, branch);
    const { orderId } = await bought;
    return `sabotaged: XA order ${orderId} was decided, and its branch in the payment database rolled back by hand`;
  } finally {
    await orders.query('DROP TRIGGER IF EXISTS demo_slow_decision');
    await orders.end();
    await databases.close();
  }
}

async function ownAtPayment(databases) {
  return (await preparedOn(databases)).filter(
    ({ app, branch, whose }) => app === 'payment' && branch === app && whose === 'own',
  );
}

/** On MariaDB a branch is nobody else's while its session lives: so the session goes first. */
async function endByHand(databases, { gtrid, branch, formatId }) {
  const [{ db }] = await databases.query('payment', 'SELECT DATABASE() AS db');
  const listed = await databases.query('payment', 'SHOW PROCESSLIST');
  const here = new Set(listed.filter((row) => row.db === db).map(({ Id }) => Number(Id)));
  const open = (await openOnes(databases, 'payment')).map(({ thread }) => Number(thread));
  for (const thread of open.filter((one) => here.has(one)))
    await databases.query('payment', `KILL CONNECTION ${thread}`).catch(() => {}); // it may have ended by itself
  const hex = (text) => `X'${Buffer.from(text, 'latin1').toString('hex')}'`;
  const rollBack = `XA ROLLBACK ${hex(gtrid)}, ${hex(branch)}, ${formatId}`;
  const isDone = () =>
    databases.query('payment', rollBack).then(
      () => true,
      () => null,
    );
  if (!(await until(isDone, { boundMs: BOUND_MS, everyMs: 20 })))
    throw new OperatorError(`${rollBack} was refused by the payment database for ${BOUND_MS / 1_000} s`);
}

/**
 * What was lost is done again by hand: the money, and in the same transaction the witness that the branch would have
 * left. A retry believes the witness, and goes on. Returns what to tell.
 */
export async function doAgainByHand(world) {
  const databases = await openDatabases(world);
  const payments = await createConnection({ uri: world.databases.payment, connectTimeout: 10_000 });
  try {
    const lost = await databases.query(
      'order',
      `SELECT x.gtrid, o.order_id, o.buyer_id, o.amount FROM dtx_xa x JOIN orders o ON o.order_id = x.gid
       WHERE x.state = 'PARKED' AND x.decision = 'COMMIT' AND FIND_IN_SET('payment', x.branches)`,
    );
    const done = [];
    for (const one of lost) if (await payOnce(payments, one)) done.push(one.order_id);
    if (done.length === 0) return 'nothing is missing: no parked XA order has lost its money';
    return `mended: the money of ${done.join(', ')} is taken, and the witness of the branch written; now retry it`;
  } finally {
    await payments.end();
    await databases.close();
  }
}

async function payOnce(connection, { gtrid, order_id: orderId, buyer_id: buyerId, amount }) {
  await connection.beginTransaction();
  const [witness] = await connection.query(
    `INSERT IGNORE INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`,
    [gtrid],
  );
  if (witness.affectedRows === 1) {
    await connection.query(
      `INSERT INTO payment (order_id, buyer_id, amount, status, reason, created_at) VALUES (?, ?, ?, 'CAPTURED', NULL, UTC_TIMESTAMP(3))`,
      [orderId, buyerId, amount],
    );
    await connection.query('UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ?', [
      amount,
      amount,
      buyerId,
    ]);
  }
  await connection.commit();
  return witness.affectedRows === 1;
}
