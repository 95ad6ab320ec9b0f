import { expect } from 'vitest';
import { Callers, type CallersOptions, type Reply } from './callers.js';
import { APPS, type Stack } from './stack.js';
import { until } from './until.js';
import { type AppName, auditOf, sql } from './world.js';

export interface PurchaseBody {
  buyerId: string;
  sku: string;
  quantity: number;
}

export type LoadOptions = Omit<CallersOptions, 'bodyOf'> & { readonly bodyOf?: (n: number) => PurchaseBody };

/** Many buyers and skus, since all purchases would wait for each other on one hot row. */
const SPREAD = 20;
const sku = (n: number) => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;
const buyer = (n: number) => `buyer-${n % SPREAD}`;

/** One of ten purchases is declined, because its buyer is too poor. So cancellations are under way too. */
export const mixedBody = (n: number): PurchaseBody => ({
  buyerId: n % 10 === 9 ? 'bob' : buyer(n),
  sku: sku(n),
  quantity: 1 + (n % 3),
});

/** Accounts and stock for `mixedBody`. */
export async function openShop(shop: Stack): Promise<void> {
  const each = Array.from({ length: SPREAD }, (_, n) => n);
  await Promise.all([shop.account('bob', 1), ...each.map((n) => shop.account(buyer(n), 1_000_000_000))]);
  await Promise.all(each.map((n) => shop.stock(sku(n), 100_000)));
}

/** Callers who buy, from the beginning on. An order is accepted by 202, and must stay what it was once it is final. */
export class Load extends Callers<202> {
  private readonly finals = new Map<string, string>();
  private readonly running: Promise<void>;

  constructor(options: LoadOptions) {
    super('/orders', { bodyOf: mixedBody, ...options });
    this.running = this.run();
  }

  /** Calls that were answered other than by 202. */
  get refused(): number {
    return [...this.answers].reduce((sum, [answer, count]) => sum + (answer === '202' ? 0 : count), 0);
  }

  get orderIds(): string[] {
    return [...this.told.values()].map(({ orderId }) => orderId);
  }

  /** No new purchases. Resolves when every one that was begun is accepted. */
  stop(): Promise<void> {
    this.endSoon();
    return this.running;
  }

  /** Resolves when all purchases are accepted. */
  ended(): Promise<void> {
    return this.running;
  }

  rememberFinal(orderId: string, status: string): void {
    const before = this.finals.get(orderId);
    if (before !== undefined && before !== status) this.wrong.push(`order ${orderId}: first ${before}, then ${status}`);
    this.finals.set(orderId, status);
  }

  protected outcomeOf({ status }: Reply): 202 | null {
    return status === 202 ? status : null;
  }

  protected override async remember(key: string, orderId: string, status: 202): Promise<void> {
    await super.remember(key, orderId, status);
    const order = await this.fetch(this.options.urls(), `/orders/${orderId}`, {});
    const read = String(order?.json.status);
    if (order?.status === 200 && read !== 'PENDING') this.rememberFinal(orderId, read);
  }
}

/** Every invariant holds once the world is at rest. */
export async function expectAuditClean(shop: Stack, settleMs = 60_000): Promise<void> {
  const report = await auditOf(shop.world, settleMs);
  expect(report.checks.flatMap(({ violations }: { violations: string[] }) => violations)).toEqual([]);
  expect(report.ok).toBe(true);
}

/** Every order is final and every message done. The audit examines more, and takes longer. */
export async function untilSettled(shop: Stack, withinMs = 60_000): Promise<void> {
  const open = async (app: AppName, from: string) =>
    Number((await sql<{ n: number }>(shop.world, app, `SELECT COUNT(*) AS n FROM ${from}`))[0]!.n);
  await until(
    'all is settled',
    async () => {
      const messages = APPS.map((app) => open(app, `dtx_outbox WHERE state <> 'DONE'`));
      const left = await Promise.all([open('order', `orders WHERE status = 'PENDING'`), ...messages]);
      if (left.every((n) => n === 0)) return true;
      throw new Error(`left are orders, then messages by app: ${left.join(', ')}`);
    },
    { withinMs, everyMs: 250 },
  );
}

/** All answers to callers are true, now that all is settled. Returns how many purchases have each status. */
export async function expectToldTruth(shop: Stack, load: Load): Promise<Record<string, number>> {
  const rows = await sql<{ id: string; status: string }>(
    shop.world,
    'order',
    'SELECT order_id AS id, status FROM orders',
  );
  const statuses = new Map(rows.map(({ id, status }) => [id, status]));
  const counts: Record<string, number> = { CONFIRMED: 0, CANCELLED: 0 };
  for (const [key, { orderId }] of load.told) {
    const status = statuses.get(orderId) ?? 'missing';
    if (status in counts) counts[status] = counts[status]! + 1;
    else load.wrong.push(`${key} was told ${orderId}, which is ${status}`);
    load.rememberFinal(orderId, status);
  }
  expect(load.wrong).toEqual([]);
  expect(new Set(load.orderIds).size).toBe(load.told.size);
  expect(Math.min(counts.CONFIRMED!, load.told.size)).toBeGreaterThan(0);
  return counts;
}

/** Waits until so many more purchases are accepted. */
export function untilBought(load: Load, more: number, withinMs = 30_000): Promise<unknown> {
  const goal = load.told.size + more;
  return until(`${more} more purchases are accepted`, () => load.told.size >= goal, { withinMs });
}

/** Waits for the end of a stated time. */
export function untilPassed(sinceMs: number, ms: number): Promise<unknown> {
  return until(`${ms} ms pass`, () => performance.now() - sinceMs >= ms, { withinMs: ms + 10_000 });
}
