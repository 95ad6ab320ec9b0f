// Clients of the shop: they buy through every scheme, repeat with the same Idempotency-Key until they are told something,
// look at what they bought, and remember every word.
import { setTimeout as sleep } from 'node:timers/promises';

const CALL_LIMIT_MS = 30_000;
const RETRY_MS = 200;
const SPREAD = 8;

/** What is asked of which app. `path` with a key; `good` is the answer that promises something. */
const WRITES = [
  { route: 'POST /orders', app: 'order', path: '/orders', good: 202 },
  { route: 'POST /orders/xa', app: 'order', path: '/orders/xa', good: 201 },
  { route: 'POST /checkouts', app: 'payment', path: '/checkouts', good: 201 },
  { route: 'POST /flash-sales', app: 'inventory', path: '/flash-sales', good: 202 },
  { route: 'POST /restocks', app: 'inventory', path: '/restocks', good: 201 },
];

const READS = [
  { route: 'GET /catalog', app: 'order', path: () => '/catalog' },
  { route: 'GET /orders', app: 'order', path: () => '/orders?limit=20' },
  { route: 'GET /accounts/{id}', app: 'payment', path: (n) => `/accounts/${buyer(n)}` },
  { route: 'GET /stock/{sku}', app: 'inventory', path: (n) => `/stock/${sku(n)}` },
  { route: 'GET /health/ready', app: 'order', path: () => '/health/ready' },
  { route: 'GET /health/ready', app: 'payment', path: () => '/health/ready' },
  { route: 'GET /metrics', app: 'inventory', path: () => '/metrics' },
];

export const buyer = (n) => `buyer-${n % SPREAD}`;
export const sku = (n) => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;
/** Every tenth purchase is of one who cannot pay, so that refusals and their way back are under way too. */
const bodyOf = (n, route) =>
  route === 'POST /restocks'
    ? { sku: sku(n), quantity: 1 }
    : { buyerId: n % 10 === 9 ? 'poor' : buyer(n), sku: sku(n), quantity: 1 + (n % 3) };

export class Clients {
  /** What each key was told: `{ route, orderId, status }`. */
  told = new Map();
  /** Answers that nobody should ever get, and words that were broken. */
  wrong = [];
  /** Per route: how often each answer came, and the longest that an instance which was whole has taken, in ms. */
  routes = new Map();
  #instances;
  #isOver = false;
  #isHurried = false;
  #next = 0;
  #running;

  /** @param {{ instances: Record<string, object[]>, callers: number, readers: number }} options */
  constructor({ instances, callers, readers }) {
    this.#instances = instances;
    this.#running = [
      ...Array.from({ length: callers }, () => this.#buyOn()),
      ...Array.from({ length: readers }, (_, n) => this.#readOn(n)),
    ];
  }

  /** No new purchases; resolves when each one begun has its answer, or after `boundMs` with the keys that have none. */
  async stop({ boundMs }) {
    this.#isOver = true;
    const hurry = setTimeout(() => (this.#isHurried = true), boundMs);
    await Promise.all(this.#running);
    clearTimeout(hurry);
  }

  /** Asks every key once more: whatever has happened since, it must be told the same. */
  async replay() {
    this.#isHurried = false;
    const keys = [...this.told.keys()];
    const one = async () => {
      for (let key = keys.pop(); key; key = keys.pop()) await this.#buy(Number(key.split('-').pop()));
    };
    await Promise.all(Array.from({ length: 16 }, one));
  }

  async #buyOn() {
    while (!this.#isOver) await this.#buy(this.#next++);
  }

  async #buy(n) {
    const write = WRITES[n % WRITES.length];
    while (!(await this.#ask(write, n)) && !this.#isHurried) await sleep(RETRY_MS);
  }

  /** True once it was told something definite. */
  async #ask({ route, app, path, good }, n) {
    const key = `chaos-${n}`;
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
    if (status === 409 && /urn:nest-dtx:refused/.test(given.type))
      return this.#remember(key, route, given.orderId, given.orderStatus);
    this.wrong.push(`${route} with ${key} was answered ${status} ${text.slice(0, 300)}`);
    return true;
  }

  #remember(key, route, orderId, status) {
    const before = this.told.get(key);
    if (before && before.orderId !== orderId) this.wrong.push(`${key}: first ${before.orderId}, then ${orderId}`);
    const isFinal = (one) => one === 'CONFIRMED' || one === 'CANCELLED';
    if (before && isFinal(before.status) && isFinal(status) && before.status !== status)
      this.wrong.push(`${key}: first ${before.status}, then ${status}`);
    this.told.set(key, { route, orderId, status: before && isFinal(before.status) ? before.status : status });
    return true;
  }

  async #readOn(from) {
    for (let n = from; !this.#isOver; n++) {
      const { route, app, path } = READS[n % READS.length];
      const answer = await this.#call(route, app, path(n), {});
      const isFair =
        !answer ||
        answer.status < 300 ||
        (answer.status === 503 && (route === 'GET /health/ready' || Number(answer.retryAfter) > 0));
      if (!isFair) this.wrong.push(`${route} was answered ${answer.status} ${answer.text.slice(0, 300)}`);
      await sleep(50);
    }
  }

  /** Null when there was no answer, which is counted by its reason. */
  async #call(route, app, path, init) {
    const all = this.#instances[app];
    const instance = all[Math.floor(Math.random() * all.length)];
    const since = performance.now();
    const answer = await fetch(`${instance.url}${path}`, { ...init, signal: AbortSignal.timeout(CALL_LIMIT_MS) })
      .then(async (response) => ({
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        text: await response.text(),
      }))
      .catch((error) => ({ failure: error.cause?.code ?? error.name }));
    const ms = performance.now() - since;
    const isWhole = instance.wasWholeSince(since);
    this.#count(route, String(answer.status ?? answer.failure), isWhole ? ms : 0);
    if (answer.failure === 'TimeoutError' && isWhole)
      this.wrong.push(`${route} had no answer within ${CALL_LIMIT_MS / 1_000} s from an instance that ran`);
    return answer.failure ? null : answer;
  }

  #count(route, answer, ms) {
    const known = this.routes.get(route) ?? { answers: {}, longestMs: 0 };
    known.answers[answer] = (known.answers[answer] ?? 0) + 1;
    known.longestMs = Math.max(known.longestMs, Math.round(ms));
    this.routes.set(route, known);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
