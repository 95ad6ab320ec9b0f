/** Callers who check out until they are told an outcome, whoever dies meanwhile, and remember every word. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql, type World } from '../support/world.js';

type Final = 'CONFIRMED' | 'CANCELLED';

export interface CheckoutsOptions {
  readonly name: string;
  readonly callers: number;
  readonly total: number;
  readonly bodyOf: (n: number) => object;
  /** Apps to call, asked before each try: instances come and go. */
  readonly payments: () => readonly string[];
  readonly orders: () => readonly string[];
}

const RETRY_REST_MS = 100;
const CALL_LIMIT_MS = 15_000;

export class Checkouts {
  /** The outcome that each key was told, and of which order. */
  readonly told = new Map<string, { orderId: string; status: Final }>();
  readonly answers = new Map<string, number>();
  /** Answers that no caller should ever get, and words that were broken. */
  readonly wrong: string[] = [];
  private next = 0;

  constructor(private readonly options: CheckoutsOptions) {}

  /** Resolves once all have been told. */
  async run(): Promise<void> {
    const { name, callers, total } = this.options;
    const caller = async () => {
      while (this.next < total) await this.untilTold(`${name}-${this.next++}`);
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  /** Asks every key once more: it must be told the same. */
  async replay(): Promise<void> {
    const keys = [...this.told.keys()];
    const caller = async () => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) await this.untilTold(key);
    };
    await Promise.all(Array.from({ length: this.options.callers }, caller));
  }

  private async untilTold(key: string): Promise<void> {
    while (!(await this.ask(key))) await sleep(RETRY_REST_MS);
  }

  private async ask(key: string): Promise<boolean> {
    const body = this.options.bodyOf(Number(key.slice(key.lastIndexOf('-') + 1)));
    const init = { method: 'POST', headers: { 'idempotency-key': key }, body: JSON.stringify(body) };
    const answer = await this.fetch(this.options.payments(), '/checkouts', init);
    if (!answer) return false;
    const { status, json, retryAfter } = answer;
    if (status === 201) return this.remember(key, String(json.orderId), 'CONFIRMED');
    if (status === 409 && json.orderStatus === 'CANCELLED')
      return this.remember(key, String(json.orderId), 'CANCELLED');
    const isFair = status === 202 || ([409, 503].includes(status) && retryAfter > 0);
    if (!isFair) this.wrong.push(`${key}: ${status} ${JSON.stringify(json)}`);
    return false;
  }

  /** One order and one outcome for each key, and the order app never says otherwise. */
  private async remember(key: string, orderId: string, status: Final): Promise<boolean> {
    const before = this.told.get(key);
    if (before && (before.orderId !== orderId || before.status !== status))
      this.wrong.push(`${key}: first ${before.status} ${before.orderId}, then ${status} ${orderId}`);
    this.told.set(key, { orderId, status });
    const read = await this.fetch(this.options.orders(), `/orders/${orderId}`, {});
    if (read?.status === 200) {
      const allowed = status === 'CONFIRMED' ? ['CONFIRMED', 'PENDING'] : ['CANCELLED'];
      if (!allowed.includes(String(read.json.status)))
        this.wrong.push(`${key} was told ${status}, its order was ${read.json.status} after that`);
    }
    return true;
  }

  private async fetch(urls: readonly string[], path: string, init: RequestInit) {
    const url = urls[Math.floor(Math.random() * urls.length)];
    if (!url) return null;
    const headers = { 'content-type': 'application/json', ...init.headers };
    try {
      const response = await fetch(`${url}${path}`, { ...init, headers, signal: AbortSignal.timeout(CALL_LIMIT_MS) });
      const json = (await response.json()) as Record<string, unknown>;
      if (init.method) this.count(`${response.status}`);
      return { status: response.status, json, retryAfter: Number(response.headers.get('retry-after')) };
    } catch (error) {
      const { cause, name } = error as Error & { cause?: { code?: string } };
      if (init.method) this.count(cause?.code ?? name);
      return null;
    }
  }

  private count(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }
}

/** Every outcome that was told and is not the one on disk, at the initiator and in the order app. */
export async function lies(world: World, { told }: Checkouts): Promise<string[]> {
  const transactions = await sql<{ id: string; status: string }>(
    world,
    'payment',
    'SELECT id, state AS status FROM dtx_tcc',
  );
  const orders = await sql<{ id: string; status: string }>(world, 'order', 'SELECT order_id AS id, status FROM orders');
  const known = [transactions, orders].map((rows) => new Map(rows.map(({ id, status }) => [id, status])));
  return [...told].flatMap(([key, { orderId, status }]) => {
    const onDisk = known.map((one) => one.get(orderId) ?? 'missing');
    return onDisk.every((one) => one === status) ? [] : [`${key}: told ${status}, on disk ${onDisk.join(' and ')}`];
  });
}
