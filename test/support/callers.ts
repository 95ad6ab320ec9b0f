import { setTimeout as sleep } from 'node:timers/promises';

export interface CallersOptions {
  /** Part of every Idempotency-Key. */
  readonly name: string;
  readonly callers: number;
  /** Keys in all. Without it the callers go on until `stop`. */
  readonly total?: number;
  /** A caller's rest between two keys. */
  readonly restMs?: number;
  readonly bodyOf: (n: number) => object;
  /** The apps to call. Read before each try, since instances come and go. */
  readonly urls: () => readonly string[];
}

export interface Reply {
  readonly status: number;
  readonly json: Record<string, unknown>;
  /** Seconds; 0 when the answer names none. */
  readonly retryAfter: number;
}

const RETRY_REST_MS = 100;
const CALL_LIMIT_MS = 15_000;

/** Callers who repeat a call with its own key until the answer is an outcome, and who remember every answer. */
export abstract class Callers<Outcome> {
  /** The outcome and the order that each key was told. */
  readonly told = new Map<string, { orderId: string; status: Outcome }>();
  /** How often each answer came: a status, or the code of the error where there was none. */
  readonly answers = new Map<string, number>();
  /** Answers that no caller should ever get, and answers that contradict an earlier one. */
  readonly wrong: string[] = [];
  private next = 0;
  private isStopping = false;

  constructor(
    private readonly path: string,
    protected readonly options: CallersOptions,
  ) {}

  /** The outcome in an answer, or null for an answer without one. */
  protected abstract outcomeOf(reply: Reply): Outcome | null;

  /** Whether an answer without an outcome is allowed: it asks the caller to come again. */
  protected isFair({ status, retryAfter }: Reply): boolean {
    return [409, 503].includes(status) && retryAfter > 0;
  }

  /** Resolves when all keys have their outcome. */
  async run(): Promise<void> {
    const { name, callers, total = Number.POSITIVE_INFINITY, restMs } = this.options;
    const caller = async () => {
      while (!this.isStopping && this.next < total) {
        await this.untilTold(`${name}-${this.next++}`);
        if (restMs) await sleep(restMs);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  /** Begins no new key. */
  protected endSoon(): void {
    this.isStopping = true;
  }

  /** Asks every key once more. The answer must be the same. */
  async replay(): Promise<void> {
    const keys = [...this.told.keys()];
    const caller = async () => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) await this.untilTold(key);
    };
    await Promise.all(Array.from({ length: this.options.callers }, caller));
  }

  /** One order and one outcome for each key. */
  protected async remember(key: string, orderId: string, status: Outcome): Promise<void> {
    const before = this.told.get(key);
    if (before && (before.orderId !== orderId || before.status !== status))
      this.wrong.push(`${key}: first ${before.status} ${before.orderId}, then ${status} ${orderId}`);
    this.told.set(key, { orderId, status });
  }

  /** Null without an answer. */
  protected async fetch(urls: readonly string[], path: string, init: RequestInit): Promise<Reply | null> {
    const url = urls[Math.floor(Math.random() * urls.length)];
    if (!url) {
      if (init.method) this.count('no app runs');
      return null;
    }
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

  private async untilTold(key: string): Promise<void> {
    while (!(await this.ask(key))) await sleep(RETRY_REST_MS);
  }

  private async ask(key: string): Promise<boolean> {
    const body = this.options.bodyOf(Number(key.slice(key.lastIndexOf('-') + 1)));
    const init = { method: 'POST', headers: { 'idempotency-key': key }, body: JSON.stringify(body) };
    const reply = await this.fetch(this.options.urls(), this.path, init);
    if (!reply) return false;
    const outcome = this.outcomeOf(reply);
    if (outcome !== null) await this.remember(key, String(reply.json.orderId), outcome);
    else if (!this.isFair(reply)) this.wrong.push(`${key}: ${reply.status} ${JSON.stringify(reply.json)}`);
    return outcome !== null;
  }

  private count(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }
}
