/**
 * Rules of accounts. A balance never falls below zero, and each order has at most one payment. Money is captured in one
 * step (`captureMoney`), or first frozen and then captured or released (`freezeMoney`, `captureFrozen`, `releaseFrozen`).
 */
import { changesOneRow, DTX_NOW, deferStatement, insertFirst, Rejected } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import type { PurchaseOnTheWay } from '../message-contracts.js';
import type { Reason } from '../purchase-schemas.js';
import { Account } from './account.entity.js';
import { Payment } from './payment.entity.js';

/** Buyer and amount in cents. */
type Money = Pick<PurchaseOnTheWay, 'buyerId' | 'amount'>;

/**
 * Opens an account or sets its balance (cents). Captured and frozen money stays as it is, and `opening` is set to the sum
 * of all three.
 */
export async function setBalance(tx: EntityManager, buyerId: string, balance: number): Promise<void> {
  await tx.query(
    `INSERT INTO account (buyer_id, balance, frozen, captured, opening) VALUES (?, ?, 0, 0, ?)
     ON DUPLICATE KEY UPDATE balance = VALUES(balance), opening = VALUES(balance) + frozen + captured`,
    [buyerId, balance, balance],
  );
}

/**
 * Captures the money of a purchase.
 * @throws Rejected INSUFFICIENT_FUNDS or UNKNOWN_BUYER, or TIMEOUT if the order has expired. The caller's transaction must
 *   roll back.
 */
export async function captureMoney(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { buyerId, amount } = purchase;
  // The account row is last, since other purchases of this buyer wait for its lock until the commit.
  await insertPayment(tx, purchase, { status: 'CAPTURED', reason: null }, UNLESS_DECLINED);
  const isPaid = await changesOneRow(
    tx,
    `UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?
     AND (SELECT status FROM payment WHERE order_id = ?) = 'CAPTURED'`,
    [amount, amount, buyerId, amount, purchase.orderId],
  );
  if (isPaid) return;
  if ((await findPayment(tx, purchase.orderId))?.status === 'DECLINED') throw new Rejected('TIMEOUT');
  throw new Rejected((await accountExists(tx, buyerId)) ? 'INSUFFICIENT_FUNDS' : 'UNKNOWN_BUYER');
}

/** A payment that was declined stays. A second capture is an error, since the column is NOT NULL. */
const UNLESS_DECLINED = `ON DUPLICATE KEY UPDATE amount = IF(status = 'DECLINED', amount, NULL)`;

/**
 * Freezes the money of a purchase. It leaves the balance and is not captured yet.
 * @throws Rejected INSUFFICIENT_FUNDS or UNKNOWN_BUYER. The caller's transaction must roll back.
 */
export async function freezeMoney(tx: EntityManager, { buyerId, amount }: Money): Promise<void> {
  const isFrozen = await changesOneRow(
    tx,
    'UPDATE account SET balance = balance - ?, frozen = frozen + ? WHERE buyer_id = ? AND balance >= ?',
    [amount, amount, buyerId, amount],
  );
  if (isFrozen) return;
  throw new Rejected((await accountExists(tx, buyerId)) ? 'INSUFFICIENT_FUNDS' : 'UNKNOWN_BUYER');
}

/** The remedy of a row that contradicts the protocol. */
const BY_HAND = 'look at it with npm run trace, correct the row, then retry';

/** Captures frozen money, at a given time or now. @throws Error if it is not frozen, which needs an operator */
export async function captureFrozen(
  tx: EntityManager,
  orderId: string,
  { capturedAt, ...money }: Money & { capturedAt?: Date | undefined },
): Promise<void> {
  const { buyerId, amount } = money;
  await insertPayment(tx, { orderId, ...money }, { status: 'CAPTURED', reason: null, createdAt: capturedAt });
  const isCaptured = await changesOneRow(
    tx,
    'UPDATE account SET frozen = frozen - ?, captured = captured + ? WHERE buyer_id = ? AND frozen >= ?',
    [amount, amount, buyerId, amount],
  );
  if (!isCaptured)
    throw new Error(
      `cannot capture ${amount} for order ${orderId}: account ${buyerId} has less than that in frozen; ${BY_HAND}`,
    );
}

/** Releases frozen money. @throws Error if it is not frozen, which needs an operator */
export async function releaseFrozen(tx: EntityManager, orderId: string, { buyerId, amount }: Money): Promise<void> {
  const isReleased = await changesOneRow(
    tx,
    'UPDATE account SET frozen = frozen - ?, balance = balance + ? WHERE buyer_id = ? AND frozen >= ?',
    [amount, amount, buyerId, amount],
  );
  if (!isReleased)
    throw new Error(
      `cannot release ${amount} for order ${orderId}: account ${buyerId} has less than that in frozen; ${BY_HAND}`,
    );
}

/**
 * Records a declined payment, so that a later inquiry gets an answer, and a later capture is refused. Returns false if the
 * order has a payment, which stays as it is.
 */
export async function declinePayment(tx: EntityManager, purchase: PurchaseOnTheWay, reason: Reason): Promise<boolean> {
  const { orderId: order_id, buyerId: buyer_id, amount } = purchase;
  return insertFirst(tx, 'payment', { order_id, buyer_id, amount, status: 'DECLINED', reason, created_at: DTX_NOW });
}

/** The account, or null. It only reads, so it needs no transaction. */
export async function findAccount(manager: EntityManager, buyerId: string): Promise<Account | null> {
  return manager.getRepository(Account).findOneBy({ buyerId });
}

/** The payment of an order, or null if there is none yet. It only reads, so it needs no transaction. */
export async function findPayment(manager: EntityManager, orderId: string): Promise<Payment | null> {
  return manager.getRepository(Payment).findOneBy({ orderId });
}

/** A plain INSERT, since a second payment for an order is an error that must not pass silently. */
async function insertPayment(
  tx: EntityManager,
  { orderId, buyerId, amount }: Money & { orderId: string },
  { status, reason, createdAt }: Pick<Payment, 'status' | 'reason'> & { createdAt?: Date | undefined },
  ifThere = '',
): Promise<void> {
  await deferStatement(
    tx,
    `INSERT INTO payment (order_id, buyer_id, amount, status, reason, created_at)
     VALUES (?, ?, ?, ?, ?, COALESCE(?, UTC_TIMESTAMP(3))) ${ifThere}`,
    [orderId, buyerId, amount, status, reason, createdAt ?? null],
  );
}

async function accountExists(tx: EntityManager, buyerId: string): Promise<boolean> {
  const rows: unknown[] = await tx.query('SELECT 1 FROM account WHERE buyer_id = ?', [buyerId]);
  return rows.length > 0;
}
