import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { APPS, type Stack } from './stack.js';
import { until } from './until.js';
import { type AppName, auditOf, sql } from './world.js';

export interface PurchaseBody {
  buyerId: string;
  sku: string;
  quantity: number;
}

export interface LoadOptions {
  /** Part of every Idempotency-Key: two loads on one world must not share keys. */
  readonly name: string;
  /** Order apps to call. Asked before each try, since instances come and go. */
  readonly urls: () => readonly string[];
  readonly callers: number;
  /** Purchases in all; without it the callers go on until `stop`. */
  readonly purchasesMax?: number;
  /** A caller's rest between two purchases. */
  readonly restMs?: number;
  readonly bodyOf?: (n: number) => PurchaseBody;
}

const RETRY_REST_MS = 100;
const CALL_LIMIT_MS = 15_000;
/** Many buyers and skus: on one hot row all purchases would wait for each other, and so would the test. */
const SPREAD = 20;
const sku = (n: number) => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;
const buyer = (n: number) => `buyer-${n % SPREAD}`;

/** Nine of ten purchases can be had; one buyer is too poor, so that refusals and their way back are under way too. */
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

/** Callers who buy. Each repeats its call with the same Idempotency-Key until it is told 202, and remembers what it was told. */
export class Load {
  /** What each key was told: the order's id. */
  readonly told = new Map<string, string>();
  /** How often each answer came: a status, or the code of the error when there was none. */
  readonly answers = new Map<string, number>();
  /** Answers that no caller should ever get, and words that were broken. */
  readonly wrong: string[] = [];
  private readonly finals = new Map<string, string>();
  private readonly callers: Promise<void>[];
  private stopping = false;
  private next = 0;

  constructor(private readonly options: LoadOptions) {
    this.callers = Array.from({ length: options.callers }, () => this.caller());
  }

  /** Calls that were answered other than by 202. */
  get refused(): number {
    return [...this.answers].reduce((sum, [answer, count]) => sum + (answer === '202' ? 0 : count), 0);
  }

  /** No new purchases; resolves once every one begun has been answered. */
  stop(): Promise<void> {
    this.stopping = true;
    return this.ended();
  }

  /** Resolves once all purchases have been made. */
  async ended(): Promise<void> {
    await Promise.all(this.callers);
  }

  /** Asks every key once more: whatever happened since, it must be told the same. */
  async replay(): Promise<void> {
    const keys = [...this.told.keys()];
    await Promise.all(
      this.callers.map(async () => {
        for (let key = keys.pop(); key !== undefined; key = keys.pop()) await this.buy(key);
      }),
    );
  }

  private async caller(): Promise<void> {
    while (!this.stopping && this.next < (this.options.purchasesMax ?? Number.POSITIVE_INFINITY)) {
      await this.buy(`${this.options.name}-${this.next++}`);
      if (this.options.restMs) await sleep(this.options.restMs);
    }
  }

  private async buy(key: string): Promise<void> {
    while (!(await this.tryToBuy(key))) await sleep(RETRY_REST_MS);
  }

  private async tryToBuy(key: string): Promise<boolean> {
    const urls = this.options.urls();
    const url = urls[Math.floor(Math.random() * urls.length)];
    if (!url) return this.count('nobody to ask', false);
    const number = Number(key.slice(key.lastIndexOf('-') + 1));
    const response = await fetch(`${url}/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify((this.options.bodyOf ?? mixedBody)(number)),
      signal: AbortSignal.timeout(CALL_LIMIT_MS),
    }).catch(codeOf);
    if (typeof response === 'string') return this.count(response, false);
    const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
    this.count(String(response.status), true);
    if (response.status === 202) return this.remember(key, String(body.orderId ?? ''), url);
    const isFair = [409, 503].includes(response.status) && Number(response.headers.get('retry-after')) > 0;
    if (!isFair) this.wrong.push(`${key}: ${response.status} ${JSON.stringify(body)}`);
    return false;
  }

  /** Told twice, a key must name the same order; once final, an order must stay what it was. */
  private async remember(key: string, orderId: string, url: string): Promise<boolean> {
    if (orderId === '') return false; // the connection broke in the middle of the answer
    const before = this.told.get(key);
    if (before !== undefined && before !== orderId) this.wrong.push(`${key}: first ${before}, then ${orderId}`);
    this.told.set(key, before ?? orderId);
    const order = (await fetch(`${url}/orders/${orderId}`, { signal: AbortSignal.timeout(CALL_LIMIT_MS) })
      .then((response) => (response.ok ? response.json() : {}))
      .catch(() => ({}))) as { status?: string };
    if (order.status === 'CONFIRMED' || order.status === 'CANCELLED') this.rememberFinal(orderId, order.status);
    return true;
  }

  /** @internal */
  rememberFinal(orderId: string, status: string): void {
    const before = this.finals.get(orderId);
    if (before !== undefined && before !== status) this.wrong.push(`order ${orderId}: first ${before}, then ${status}`);
    this.finals.set(orderId, status);
  }

  private count<T>(answer: string, result: T): T {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
    return result;
  }
}

function codeOf(error: Error & { cause?: { code?: string } }): string {
  return error.cause?.code ?? error.name;
}

/** Every invariant holds, once the world has come to rest. */
export async function expectAuditClean(shop: Stack, settleMs = 60_000): Promise<void> {
  const report = await auditOf(shop.world, settleMs);
  expect(report.checks.flatMap(({ violations }: { violations: string[] }) => violations)).toEqual([]);
  expect(report.ok).toBe(true);
}

/** Nothing is under way any more: every order is final and every message done. The audit looks closer, and slower. */
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

/** All that callers were told is true, now that all is settled. Answers how many purchases ended which way. */
export async function expectToldTruth(shop: Stack, load: Load): Promise<Record<string, number>> {
  const rows = await sql<{ id: string; status: string }>(
    shop.world,
    'order',
    'SELECT order_id AS id, status FROM orders',
  );
  const statuses = new Map(rows.map(({ id, status }) => [id, status]));
  const counts: Record<string, number> = { CONFIRMED: 0, CANCELLED: 0 };
  for (const [key, orderId] of load.told) {
    const status = statuses.get(orderId) ?? 'missing';
    if (status in counts) counts[status] = counts[status]! + 1;
    else load.wrong.push(`${key} was told ${orderId}, which is ${status}`);
    load.rememberFinal(orderId, status);
  }
  expect(load.wrong).toEqual([]);
  expect(new Set(load.told.values()).size).toBe(load.told.size);
  expect(Math.min(counts.CONFIRMED!, load.told.size)).toBeGreaterThan(0);
  return counts;
}

/** The load has been answered so many more times than at this moment. */
export function untilBought(load: Load, more: number, withinMs = 30_000): Promise<unknown> {
  const goal = load.told.size + more;
  return until(`${more} more purchases are accepted`, () => load.told.size >= goal, { withinMs });
}

/** Waits for the end of a stated time. */
export function untilPassed(sinceMs: number, ms: number): Promise<unknown> {
  return until(`${ms} ms pass`, () => performance.now() - sinceMs >= ms, { withinMs: ms + 10_000 });
}
