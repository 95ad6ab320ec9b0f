import { ADMIN_TOKEN, type AppOptions, AppProcess } from './app-process.js';
import { until } from './until.js';
import type { AppName, World } from './world.js';

export const APPS: readonly AppName[] = ['order', 'payment', 'inventory'];

export interface Purchase {
  orderId: string;
  status: 'PENDING' | 'CONFIRMED' | 'CANCELLED';
  reason?: string;
  amount: number;
  createdAt: string;
  updatedAt: string;
}

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

/** The three apps of one world, with the calls of a user. */
export class Stack {
  readonly instances: AppProcess[] = [];

  constructor(
    readonly world: World,
    private readonly defaults: Omit<AppOptions, 'world'> = {},
  ) {}

  async start(apps: readonly AppName[] = APPS, options: Omit<AppOptions, 'world'> = {}): Promise<AppProcess[]> {
    // Known before they are up. If one does not come up, `stop` still ends the others.
    const started = apps.map((app) => AppProcess.spawn(app, { ...this.defaults, ...options, world: this.world }));
    this.instances.push(...started);
    await Promise.all(started.map((instance) => instance.untilListening()));
    await Promise.all(started.map((instance) => this.untilReady(instance)));
    return started;
  }

  async stop(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.stop().catch(() => instance.kill())));
  }

  /** The first instance of an app that lives. */
  of(app: AppName): AppProcess {
    const found = this.instances.find((instance) => instance.app === app && !instance.exited);
    if (!found) throw new Error(`no instance of ${app} runs`);
    return found;
  }

  untilReady(instance: AppProcess): Promise<unknown> {
    return until(`${instance.app} is ready and connected`, async () => {
      const { status, body } = await call(`${instance.url}/health/ready`);
      const { degraded } = body as { degraded: string[] };
      // The branch of an app that a test does not start has no tables.
      return status === 200 && degraded.every((name) => name.startsWith('xa '));
    });
  }

  get(app: AppName, path: string): Promise<Answer> {
    return call(`${this.of(app).url}${path}`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  }

  send(
    app: AppName,
    method: 'POST' | 'PUT',
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return call(`${this.of(app).url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_TOKEN}`, ...headers },
      body: JSON.stringify(body),
    });
  }

  async account(buyerId: string, balance: number): Promise<void> {
    await expectStatus(this.send('payment', 'PUT', `/accounts/${encodeURIComponent(buyerId)}`, { balance }), 200);
  }

  async stock(sku: string, available: number): Promise<void> {
    await expectStatus(this.send('inventory', 'PUT', `/stock/${sku}`, { available }), 200);
  }

  /** A purchase through the local message table. */
  async order(body: { buyerId: string; sku: string; quantity: number }, key?: string): Promise<Purchase> {
    const headers = key ? { 'idempotency-key': key } : undefined;
    const { body: purchase } = await expectStatus(this.send('order', 'POST', '/orders', body, headers), 202);
    return purchase as unknown as Purchase;
  }

  /** Waits until a purchase is final, by its own long poll. */
  settled(orderId: string, withinMs = 30_000): Promise<Purchase> {
    return until(
      `order ${orderId} is final`,
      async () => {
        const { status, body } = await this.get('order', `/orders/${orderId}?waitMs=2000`);
        return status === 200 && body.status !== 'PENDING' && (body as unknown as Purchase);
      },
      { withinMs },
    );
  }
}

export async function call(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(35_000) });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, body: isJson ? JSON.parse(text) : { text }, headers: response.headers };
}

async function expectStatus(answer: Promise<Answer>, status: number): Promise<Answer> {
  const given = await answer;
  if (given.status !== status)
    throw new Error(`expected ${status}, got ${given.status}: ${JSON.stringify(given.body)}`);
  return given;
}
