/** Callers who buy in a flash sale until they are told an outcome, whoever dies meanwhile, and remember every word. */
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_REST_MS = 100;
const CALL_LIMIT_MS = 15_000;

export interface FlashSalesOptions {
  readonly name: string;
  readonly callers: number;
  readonly total: number;
  readonly bodyOf: (n: number) => object;
  /** Apps to call, asked before each try: instances come and go. */
  readonly sellers: () => readonly string[];
}

export class FlashSales {
  /** What each key was told: an accepted order, or a refusal. */
  readonly told = new Map<string, { orderId: string; status: 202 | 409 }>();
  readonly answers = new Map<string, number>();
  /** Answers that no caller should ever get, and words that were broken. */
  readonly wrong: string[] = [];
  private next = 0;

  constructor(private readonly options: FlashSalesOptions) {}

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

  ids(status: 202 | 409): string[] {
    return [...this.told.values()].filter((one) => one.status === status).map(({ orderId }) => orderId);
  }

  private async untilTold(key: string): Promise<void> {
    while (!(await this.ask(key))) await sleep(RETRY_REST_MS);
  }

  private async ask(key: string): Promise<boolean> {
    const urls = this.options.sellers();
    const url = urls[Math.floor(Math.random() * urls.length)];
    if (!url) return this.count('nobody to ask');
    const body = this.options.bodyOf(Number(key.slice(key.lastIndexOf('-') + 1)));
    try {
      const response = await fetch(`${url}/flash-sales`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(CALL_LIMIT_MS),
      });
      const told = (await response.json()) as { orderId?: string; reason?: string };
      this.count(String(response.status));
      const isRefused = response.status === 409 && told.reason === 'OUT_OF_STOCK';
      if (response.status === 202 || isRefused) return this.remember(key, told.orderId!, isRefused ? 409 : 202);
      const isFair = [409, 503].includes(response.status) && Number(response.headers.get('retry-after')) > 0;
      if (!isFair) this.wrong.push(`${key}: ${response.status} ${JSON.stringify(told)}`);
      return false;
    } catch (error) {
      const { cause, name } = error as Error & { cause?: { code?: string } };
      return this.count(cause?.code ?? name);
    }
  }

  /** One order and one outcome for each key. */
  private remember(key: string, orderId: string, status: 202 | 409): true {
    const before = this.told.get(key);
    if (before && (before.orderId !== orderId || before.status !== status))
      this.wrong.push(`${key}: first ${before.status} ${before.orderId}, then ${status} ${orderId}`);
    this.told.set(key, { orderId, status });
    return true;
  }

  private count(answer: string): false {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
    return false;
  }
}
