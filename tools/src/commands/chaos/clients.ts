// Clients of the shop: they buy through every scheme, repeat with the same Idempotency-Key until they get a definite answer,
// read their purchases, and remember every answer.
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../../cli/error-text.js';
import type { App } from '../../servers/server-set.js';
import { RESTOCK, type Seen, type Told } from './history.js';
import type { Instance } from './proxied-app-instance.js';

const CALL_LIMIT_MS = 30_000;
const RETRY_MS = 200;
const SPREAD = 8;

interface Write {
  readonly route: string;
  readonly app: App;
  readonly path: string;
  /** The status of an answer that promises a purchase. */
  readonly good: number;
}

const WRITES: readonly Write[] = [
  { route: 'POST /orders', app: 'order', path: '/orders', good: 202 },
  { route: 'POST /orders/xa', app: 'order', path: '/orders/xa', good: 201 },
  { route: 'POST /orders/saga', app: 'order', path: '/orders/saga', good: 201 },
  { route: 'POST /checkouts', app: 'payment', path: '/checkouts', good: 201 },
  { route: 'POST /flash-sales', app: 'inventory', path: '/flash-sales', good: 202 },
  { route: RESTOCK, app: 'inventory', path: '/restocks', good: 201 },
];

const READS: ReadonlyArray<{ route: string; app: App; path: (n: number) => string }> = [
  { route: 'GET /catalog', app: 'order', path: () => '/catalog' },
  { route: 'GET /orders', app: 'order', path: () => '/orders?limit=20' },
  { route: 'GET /accounts/{id}', app: 'payment', path: (n) => `/accounts/${buyer(n)}` },
  { route: 'GET /stock/{sku}', app: 'inventory', path: (n) => `/stock/${sku(n)}` },
  { route: 'GET /health/ready', app: 'order', path: () => '/health/ready' },
  { route: 'GET /health/ready', app: 'payment', path: () => '/health/ready' },
  { route: 'GET /metrics', app: 'inventory', path: () => '/metrics' },
];

export const buyer = (n: number): string => `buyer-${n % SPREAD}`;
export const sku = (n: number): string => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;
/** In every tenth purchase the buyer cannot pay, so that refusals and compensations happen too. */
const bodyOf = (n: number, route: string) =>
  route === RESTOCK
    ? { sku: sku(n), quantity: 1 }
    : { buyerId: n % 10 === 9 ? 'poor' : buyer(n), sku: sku(n), quantity: 1 + (n % 3) };

export interface RouteFigures {
  /** How often each answer came. */
  readonly answers: Record<string, number>;
  /** The longest time that an instance took while it was whole. */
  longestMs: number;
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly text: string;
}

/** The body of an answer to a write. */
interface Given {
  readonly orderId: string;
  readonly status: string;
  readonly type?: string;
  readonly orderStatus: string;
}

interface ClientOptions {
  readonly instances: Record<App, readonly Instance[]>;
  readonly callers: number;
  readonly readers: number;
}

export class Clients implements Seen {
  readonly told = new Map<string, Told>();
  readonly unknown = new Set<string>();
  readonly wrong: string[] = [];
  readonly routes = new Map<string, RouteFigures>();
  readonly #instances: Record<App, readonly Instance[]>;
  #isOver = false;
  #isHurried = false;
  #next = 0;
  readonly #running: ReadonlyArray<Promise<void>>;

  constructor({ instances, callers, readers }: ClientOptions) {
    this.#instances = instances;
    this.#running = [
      ...Array.from({ length: callers }, () => this.#buyOn()),
      ...Array.from({ length: readers }, (_, n) => this.#readOn(n)),
    ];
  }

  /** Begins no new purchases. Resolves when each purchase has its answer, or after `boundMs`. */
  async stop({ boundMs }: { boundMs: number }): Promise<void> {
    this.#isOver = true;
    const hurry = setTimeout(() => {
      this.#isHurried = true;
    }, boundMs);
    await Promise.all(this.#running);
    clearTimeout(hurry);
  }

  /** Repeats the call of every key: the answer must be the same. */
  async replay(): Promise<void> {
    this.#isHurried = false;
    const keys = [...this.told.keys()];
    const one = async () => {
      for (let key = keys.pop(); key; key = keys.pop()) await this.#buy(Number(key.split('-').pop()));
    };
    await Promise.all(Array.from({ length: 16 }, one));
  }

  async #buyOn(): Promise<void> {
    while (!this.#isOver) await this.#buy(this.#next++);
  }

  async #buy(n: number): Promise<void> {
    const write = WRITES[n % WRITES.length]!;
    while (!(await this.#ask(write, n)) && !this.#isHurried) await sleep(RETRY_MS);
  }

  /** True once it has a definite answer. */
  async #ask({ route, app, path, good }: Write, n: number): Promise<boolean> {
    const key = `chaos-${n}`;
    if (!this.told.has(key)) this.unknown.add(key);
    const headers = { 'content-type': 'application/json', 'idempotency-key': key };
    const body = JSON.stringify(bodyOf(n, route));
    const answer = await this.#call(route, app, path, { method: 'POST', headers, body });
    if (!answer) return false;
    const { status, retryAfter, text } = answer;
    const given = parse(text);
    if (given === null) return false; // the connection broke in the middle of the answer
    const isLater = (status === 503 || status === 409) && Number(retryAfter) > 0;
    if (isLater) return false;
    if (status === good || (status === 202 && given.orderId))
      return this.#remember(key, route, given.orderId, given.status);
    if (status === 409 && /urn:nest-dtx:refused/.test(given.type ?? ''))
      return this.#remember(key, route, given.orderId, given.orderStatus);
    this.wrong.push(`${route} with ${key} was answered ${status} ${text.slice(0, 300)}`);
    return true;
  }

  #remember(key: string, route: string, orderId: string, status: string): true {
    const before = this.told.get(key);
    if (before && before.orderId !== orderId) this.wrong.push(`${key}: first ${before.orderId}, then ${orderId}`);
    this.unknown.delete(key);
    const isFinal = (one: string | undefined) => one === 'CONFIRMED' || one === 'CANCELLED';
    if (before && isFinal(before.status) && isFinal(status) && before.status !== status)
      this.wrong.push(`${key}: first ${before.status}, then ${status}`);
    this.told.set(key, { route, orderId, status: before && isFinal(before.status) ? before.status : status });
    return true;
  }

  async #readOn(from: number): Promise<void> {
    for (let n = from; !this.#isOver; n++) {
      const { route, app, path } = READS[n % READS.length]!;
      const answer = await this.#call(route, app, path(n), {});
      const isFair =
        !answer ||
        answer.status < 300 ||
        (answer.status === 503 && (route === 'GET /health/ready' || Number(answer.retryAfter) > 0));
      if (!isFair) this.wrong.push(`${route} was answered ${answer.status} ${answer.text.slice(0, 300)}`);
      await sleep(50);
    }
  }

  /** Null without an answer. The reason is counted. */
  async #call(route: string, app: App, path: string, init: RequestInit): Promise<Answer | null> {
    const all = this.#instances[app];
    const instance = all[Math.floor(Math.random() * all.length)]!;
    const since = performance.now();
    const answer = await answerOf(`${instance.url}${path}`, init);
    const ms = performance.now() - since;
    const isWhole = instance.wasWholeSince(since);
    const isFailure = typeof answer === 'string';
    this.#count(route, isFailure ? answer : String(answer.status), isWhole ? ms : 0);
    if (answer === 'TimeoutError' && isWhole)
      this.wrong.push(`${route} had no answer within ${CALL_LIMIT_MS / 1_000} s from an instance that ran`);
    return isFailure ? null : answer;
  }

  #count(route: string, answer: string, ms: number): void {
    const known = this.routes.get(route) ?? { answers: {}, longestMs: 0 };
    known.answers[answer] = (known.answers[answer] ?? 0) + 1;
    known.longestMs = Math.max(known.longestMs, Math.round(ms));
    this.routes.set(route, known);
  }
}

/** A text is the reason for a missing answer. */
async function answerOf(url: string, init: RequestInit): Promise<Answer | string> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(CALL_LIMIT_MS) });
    const retryAfter = response.headers.get('retry-after');
    return { status: response.status, retryAfter, text: await response.text() };
  } catch (error) {
    const { cause, name } = error as Error;
    return codeOf(cause) ?? name;
  }
}

function parse(text: string): Given | null {
  try {
    return JSON.parse(text) as Given;
  } catch {
    return null;
  }
}
