// The steps of the local message table by hand: the same transactions, packets, messages, confirms and receipts as the library.
// Without scans, so a crash loses messages. It shows what the steps cost without Nest, TypeORM and nest-dtx.
import { randomUUID } from 'node:crypto';
import type { Pool } from 'mysql2/promise';
import type { Purchase } from '../naive/shop.js';
import { APPS, type App } from './apps.js';
import { type Broker, exit } from './broker.js';
import { ascii, LEASE } from './columns.js';
import { gather } from './gather.js';
import { type Statement, transact } from './transact.js';

const PREFETCH = 64;
/** Receipts and marks are gathered for this time in milliseconds, as the library does. */
const GATHER_MS = 5;
const ID = `${ascii('CHAR(36)')} NOT NULL PRIMARY KEY`;
const TABLES = [
  `CREATE TABLE IF NOT EXISTS outbox (
    id ${ID}, payload JSON NOT NULL, state ${ascii('VARCHAR(16)')} NOT NULL,
    next_attempt_at DATETIME(3) NULL, created_at DATETIME(3) NOT NULL, done_at DATETIME(3) NULL, KEY due (next_attempt_at)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS inbox (id ${ID}, created_at DATETIME(3) NOT NULL) ENGINE=InnoDB`,
];

interface Message {
  readonly id: string;
  readonly purchase: Purchase;
}

interface Step {
  readonly queue: string;
  /** The app whose outbox has the message, for the receipt. */
  readonly from: App;
  /** The queue of the message that the transaction appends. Without it the purchase ends here. */
  readonly next?: string;
  readonly business: (purchase: Purchase) => Statement;
  /** Called after COMMIT. */
  readonly committed?: () => void;
}

export class OutboxByHand {
  private readonly receipts: Record<App, (id: string) => Promise<void>>;

  private constructor(
    private readonly pool: Pool,
    private readonly broker: Broker,
  ) {
    const to = (app: App) => gather(GATHER_MS, (ids: string[]) => broker.publish(receiptQueue(app), ids));
    this.receipts = { order: to('order'), payment: to('payment'), inventory: to('inventory') };
  }

  /** Declares quorum queues and consumes the receipts of this app. */
  static async open(app: App, { pool, broker }: { pool: Pool; broker: Broker }): Promise<OutboxByHand> {
    for (const table of TABLES) await pool.query(table);
    await broker.declare(['bare.take-stock', 'bare.take-money', 'bare.settle', ...APPS.map(receiptQueue)]);
    const outbox = new OutboxByHand(pool, broker);
    await outbox.markByReceipts(receiptQueue(app));
    return outbox;
  }

  /** Resolves after COMMIT, and then publishes. */
  async accept(purchase: Purchase, order: Statement, queue: string): Promise<void> {
    const message = messageOf(purchase);
    await transact(this.pool, [order], [outboxRowOf(message)]);
    this.broker.publish(queue, message).catch(exit);
  }

  /** Consumes a queue: inbox row, business and next message in one transaction, then confirm, receipt and ack. */
  async consume({ queue, from, next, business, committed }: Step): Promise<void> {
    const receive = async ({ id, purchase }: Message) => {
      const message = messageOf(purchase);
      await transact(this.pool, [inboxRowOf(id)], [business(purchase), ...(next ? [outboxRowOf(message)] : [])]);
      committed?.();
      if (next) await this.broker.publish(next, message);
      await this.receipts[from](id);
    };
    await this.broker.consume(queue, PREFETCH, receive);
  }

  private async markByReceipts(queue: string): Promise<void> {
    const mark = gather(GATHER_MS, (receipts: string[][]) =>
      this.pool.query(
        "UPDATE outbox SET state = 'DONE', next_attempt_at = NULL, done_at = UTC_TIMESTAMP(3) WHERE id IN (?)",
        [receipts.flat().sort()],
      ),
    );
    await this.broker.consume(queue, PREFETCH, mark);
  }
}

const receiptQueue = (app: App) => `bare.${app}.receipts`;

const messageOf = (purchase: Purchase): Message => ({ id: randomUUID(), purchase });

const inboxRowOf = (id: string): Statement => ({ sql: 'INSERT INTO inbox VALUES (?, UTC_TIMESTAMP(3))', values: [id] });

const outboxRowOf = ({ id, purchase }: Message): Statement => ({
  sql: `INSERT INTO outbox VALUES (?, ?, 'PENDING', ${LEASE}, UTC_TIMESTAMP(3), NULL)`,
  values: [id, JSON.stringify(purchase)],
});
