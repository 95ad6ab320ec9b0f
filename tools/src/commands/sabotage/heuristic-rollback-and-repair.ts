// A heuristic rollback that no protocol can prevent: after the decision an operator rolls a prepared XA branch back. And how
// an operator repairs it.

import { type Connection, createConnection, type ResultSetHeader } from 'mysql2/promise';
import { tableNames } from 'nest-dtx/testing';
import { openOnes, type Session } from '../../audit/open-transactions.js';
import { type PreparedBranch, preparedOn } from '../../audit/xa-prepared-branches.js';
import { messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import { until } from '../../cli/waits-and-progress.js';
import { type Databases, openDatabases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { Urls } from '../../shop/purchase.js';
import { askForPurchase } from '../../shop/purchase.js';

const WANTED = { buyerId: 'alice', sku: 'mug', quantity: 1 };
const BOUND_MS = 20_000;
/** Long enough to meet the branch between its PREPARE and its COMMIT, and well within the deadline of 5 s. */
const DECISION_SECONDS = 2;

/** Buys by XA and rolls the payment branch back while the decision is being written. Returns a line for the operator. */
export async function rollBackByHand(sandbox: Sandbox, urls: Urls): Promise<string> {
  const databases = await openDatabases(sandbox);
  const orders = await createConnection({ uri: sandbox.databases.order, connectTimeout: 10_000 });
  try {
    await orders.query('DROP TRIGGER IF EXISTS demo_slow_decision');
    await orders.query(
      `CREATE TRIGGER demo_slow_decision BEFORE INSERT ON ${tableNames.xa} FOR EACH ROW
       SET @demo_slow_decision = IF(NEW.decision = 'COMMIT', SLEEP(${DECISION_SECONDS}), 0)`,
    );
    const before = new Set((await ownAtPayment(databases)).map(({ id }) => id));
    const bought = askForPurchase(urls, 'xa', WANTED, { boundMs: BOUND_MS });
    bought.catch(() => {}); // awaited later: an early rejection must not end the process
    const look = async () => (await ownAtPayment(databases)).find(({ id }) => !before.has(id)) ?? null;
    const branch = await until(look, { boundMs: BOUND_MS, everyMs: 20 });
    if (!branch) throw new OperatorError('no branch was prepared: check the demo with "npm run audit"');
    await endByHand(databases, branch);
    const { orderId } = await bought;
    return `sabotaged: XA order ${orderId} was decided, and its branch in the payment database rolled back by hand`;
  } finally {
    await orders.query('DROP TRIGGER IF EXISTS demo_slow_decision');
    await orders.end();
    await databases.close();
  }
}

async function ownAtPayment(databases: Databases): Promise<PreparedBranch[]> {
  return (await preparedOn(databases)).filter(
    ({ app, branch, whose }) => app === 'payment' && branch === app && whose === 'own',
  );
}

/** On MariaDB only its session can end a branch while that session lives, so the session is killed first. */
async function endByHand(databases: Databases, { gtrid, branch, formatId }: PreparedBranch): Promise<void> {
  const [own] = await databases.query<{ db: string }>('payment', 'SELECT DATABASE() AS db');
  const listed = await databases.query<Session>('payment', 'SHOW PROCESSLIST');
  const here = new Set(listed.filter((row) => row.db === own!.db).map(({ Id }) => Number(Id)));
  const open = (await openOnes(databases, 'payment')).map(({ thread }) => Number(thread));
  for (const thread of open.filter((one) => here.has(one)))
    await databases.query('payment', `KILL CONNECTION ${thread}`).catch(() => {}); // it may have ended meanwhile
  const hex = (text: string) => `X'${Buffer.from(text, 'latin1').toString('hex')}'`;
  const rollBack = `XA ROLLBACK ${hex(gtrid)}, ${hex(branch)}, ${formatId}`;
  let refusal: unknown;
  const isDone = () =>
    databases.query('payment', rollBack).then(
      () => true,
      (error) => {
        refusal = error;
        return null;
      },
    );
  if (!(await until(isDone, { boundMs: BOUND_MS, everyMs: 20 })))
    throw new OperatorError(
      `the payment database refused ${rollBack} for ${BOUND_MS / 1_000} s: ${messageOf(refusal)}; try again`,
    );
}

interface LostPayment {
  gtrid: string;
  order_id: string;
  buyer_id: string;
  amount: bigint;
}

/**
 * Does the lost work again: takes the money, and in the same transaction writes the witness that the branch would have left.
 * A retry trusts the witness. Returns a line for the operator.
 */
export async function doAgainByHand(sandbox: Sandbox): Promise<string> {
  const databases = await openDatabases(sandbox);
  const payments = await createConnection({ uri: sandbox.databases.payment, connectTimeout: 10_000 });
  try {
    const lost = await databases.query<LostPayment>(
      'order',
      `SELECT x.gtrid, o.order_id, o.buyer_id, o.amount FROM ${tableNames.xa} x JOIN orders o ON o.order_id = x.gid
       WHERE x.state = 'PARKED' AND x.decision = 'COMMIT' AND FIND_IN_SET('payment', x.branches)`,
    );
    const done: string[] = [];
    for (const one of lost) if (await payOnce(payments, one)) done.push(one.order_id);
    if (done.length === 0) return 'nothing is missing: no parked XA order has lost its money';
    return `mended: the money of ${done.join(', ')} is taken, and the witness of the branch written; now retry it`;
  } finally {
    await payments.end();
    await databases.close();
  }
}

async function payOnce(connection: Connection, lost: LostPayment): Promise<boolean> {
  const { gtrid, order_id: orderId, buyer_id: buyerId, amount } = lost;
  await connection.beginTransaction();
  const [witness] = await connection.query<ResultSetHeader>(
    `INSERT IGNORE INTO ${tableNames.xaWitness} (gtrid, branch, who, created_at) VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`,
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
