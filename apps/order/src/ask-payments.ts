/**
 * Step 5 of 5 - inquire: asks the payment app for missing payment results, because a notification may never arrive.
 * Nothing is stored about a pass. If the process dies, the next pass of any instance asks for the orders that still have
 * no result. A result that was stored before is a duplicate.
 */
import { findOrder, paymentResult } from '@nest-dtx/shop';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { type Inquiries, Inquiry, inTransaction } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { keepNoResult, keepResult } from './payment-results.js';

/** Base URL of the payment app. Without it the app asks nothing. */
export const PAYMENT_URL = Symbol('payment app');

/** Age of orders after which inquiries end. */
const HORIZON_HOURS = 24;

@Injectable()
export class AskPayments implements OnModuleInit, Inquiries {
  readonly name = 'payment result';
  /** Position of the current pass. It is only in memory, since a repeated inquiry does no harm. */
  private after: { createdAt: Date; orderId: string } | undefined;

  constructor(
    private readonly db: DataSource,
    private readonly inquiry: Inquiry,
    @Inject(PAYMENT_URL) private readonly paymentUrl: string | undefined,
  ) {}

  onModuleInit(): void {
    if (this.paymentUrl !== undefined) this.inquiry.start(this);
  }

  urlOf(orderId: string): string {
    return `${this.paymentUrl!.replace(/\/$/, '')}/payments/${orderId}`;
  }

  /** Reads the next orders without a result along the index of creation times. */
  async missing({ olderThanMs, limit }: { olderThanMs: number; limit: number }): Promise<string[]> {
    const rows: { orderId: string; createdAt: Date }[] = await this.db.query(
      `SELECT o.order_id AS orderId, o.created_at AS createdAt FROM orders o FORCE INDEX (newest)
       LEFT JOIN payment_result r ON r.order_id = o.order_id
       WHERE o.created_at > UTC_TIMESTAMP(3) - INTERVAL ${HORIZON_HOURS} HOUR
         AND o.created_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND
         AND (o.created_at > ? OR (o.created_at = ? AND o.order_id > ?)) AND r.event_id IS NULL
       ORDER BY o.created_at, o.order_id LIMIT ?`,
      [olderThanMs * 1_000, ...this.position(), limit],
    );
    const last = rows.at(-1);
    this.after = rows.length === limit ? last : undefined;
    return rows.map(({ orderId }) => orderId);
  }

  async keep(orderId: string, result: unknown): Promise<void> {
    const known = paymentResult.parse(result);
    if (known.orderId !== orderId)
      throw new Error(
        `payment result of order ${orderId} not stored: ${this.urlOf(orderId)} answered for order ${known.orderId}; ` +
          'check DTX_PAYMENT_URL, the order is asked for again',
      );
    await inTransaction(this.db, (tx) => keepResult(tx, known, 'asked'));
  }

  /** A cancelled order will never have a payment, so its inquiries end. Any other order is asked for again. */
  async none(orderId: string): Promise<void> {
    const order = await findOrder(this.db.manager, orderId);
    if (order?.status === 'CANCELLED') await inTransaction(this.db, (tx) => keepNoResult(tx, orderId));
  }

  private position(): [Date, Date, string] {
    const { createdAt, orderId } = this.after ?? { createdAt: new Date(0), orderId: '' };
    return [createdAt, createdAt, orderId];
  }
}
