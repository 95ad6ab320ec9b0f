/**
 * Step 5 of 5 - inquire: asks the payment app for missing payment results, because a notification may never arrive.
 * Nothing is stored about a pass. If the process dies, the next pass of any instance asks for the orders that still have
 * no result. A result that was stored before is a duplicate.
 */
import { findOrder, paymentResult } from '@nest-dtx/shop';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { type Inquiries, Inquiry } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { keepNoResult, keepResult } from './payment-result-table.js';

/** Base URL of the payment app. Without it the app asks nothing. */
export const PAYMENT_URL = Symbol('payment app');

/** Age of orders after which inquiries end. */
const HORIZON_HOURS = 24;
/** Orders that one statement reads. */
const STRETCH_ROWS = 5_000;
/** Statements of one round. A pass over a million orders takes 20 rounds. */
const STRETCHES_MAX = 10;
/** Orders without a result that are remembered. Beyond them the low-water mark stays where it is. */
const OPEN_MAX = 1_000;
/** Distance of the mark from the newest order that is asked for. Orders of another app are inserted after their creation. */
const LATE_SECONDS = 60;
/** Interval after which a pass begins at the horizon again, for orders that are inserted even later. */
const AGAIN_MS = 3_600_000;

interface Position {
  readonly createdAt: Date;
  readonly orderId: string;
}

const BEGINNING: Position = { createdAt: new Date(0), orderId: '' };

/**
 * Finds orders without a payment result. All orders up to the low-water mark have one, or are remembered as open. So a
 * round reads new and open orders only. Both are in memory: a new process makes one pass over the whole horizon, and
 * repeated inquiries do no harm.
 */
@Injectable()
export class AskPayments implements OnModuleInit, Inquiries {
  readonly name = 'payment result';
  private mark = BEGINNING;
  private againAt = performance.now() + AGAIN_MS;
  /** Ids of orders up to the mark without a result. The next round begins after those that the last one has asked for. */
  private open: string[] = [];

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

  async missing({ olderThanMs, limit }: { olderThanMs: number; limit: number }): Promise<string[]> {
    this.open = await this.stillOpen();
    if (performance.now() >= this.againAt) {
      this.mark = BEGINNING;
      this.againAt = performance.now() + AGAIN_MS;
    }
    let at: Position | null = this.mark;
    for (let n = 0; n < STRETCHES_MAX && at !== null; n++) at = await this.readStretch(at, olderThanMs);
    const ids = this.open.slice(0, limit);
    this.open = [...this.open.slice(limit), ...ids];
    return ids;
  }

  /** Reads the orders after a position and moves the mark. Returns the next position, or null at the end of a round. */
  private async readStretch({ createdAt, orderId }: Position, olderThanMs: number): Promise<Position | null> {
    const rows: (Position & { isOpen: unknown; isPast: unknown })[] = await this.db.query(
      `SELECT o.order_id AS orderId, o.created_at AS createdAt, r.event_id IS NULL AS isOpen,
         o.created_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND - INTERVAL ${LATE_SECONDS} SECOND AS isPast
       FROM orders o FORCE INDEX (newest) LEFT JOIN payment_result r ON r.order_id = o.order_id
       WHERE o.created_at >= ? AND o.created_at > UTC_TIMESTAMP(3) - INTERVAL ${HORIZON_HOURS} HOUR
         AND o.created_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND AND (o.created_at > ? OR o.order_id > ?)
       ORDER BY o.created_at, o.order_id LIMIT ${STRETCH_ROWS}`,
      [olderThanMs * 1_000, createdAt, olderThanMs * 1_000, createdAt, orderId],
    );
    for (const row of rows) {
      const isNew = Number(row.isOpen) === 1 && !this.open.includes(row.orderId);
      if (isNew && this.open.length >= OPEN_MAX) return null;
      if (isNew) this.open.push(row.orderId);
      if (Number(row.isPast) === 1) this.mark = row;
    }
    return rows.length === STRETCH_ROWS ? rows.at(-1)! : null;
  }

  /** The open orders that still have no result and are not beyond the horizon, in the same sequence. */
  private async stillOpen(): Promise<string[]> {
    if (this.open.length === 0) return [];
    const rows: { orderId: string }[] = await this.db.query(
      `SELECT o.order_id AS orderId FROM orders o LEFT JOIN payment_result r ON r.order_id = o.order_id
       WHERE o.order_id IN (?) AND r.event_id IS NULL AND o.created_at > UTC_TIMESTAMP(3) - INTERVAL ${HORIZON_HOURS} HOUR`,
      [this.open],
    );
    const still = new Set(rows.map(({ orderId }) => orderId));
    return this.open.filter((id) => still.has(id));
  }

  async keep(orderId: string, result: unknown): Promise<void> {
    const known = paymentResult.parse(result);
    if (known.orderId !== orderId)
      throw new Error(
        `payment result of order ${orderId} not stored: ${this.urlOf(orderId)} answered for order ${known.orderId}; ` +
          'check DTX_PAYMENT_URL, the order is asked for again',
      );
    await keepResult(this.db.manager, known, 'asked');
  }

  /** A cancelled order will never have a payment, so its inquiries end. Any other order is asked for again. */
  async none(orderId: string): Promise<void> {
    const order = await findOrder(this.db.manager, orderId);
    if (order?.status === 'CANCELLED') await keepNoResult(this.db.manager, orderId);
  }
}
