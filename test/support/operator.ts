import type { Answer, Stack } from './stack.js';
import { until } from './until.js';
import type { AppName } from './world.js';

export interface Parked {
  id: string;
  gid: string | null;
  lastError: string;
}

export interface Alert {
  id: string;
  subject: string;
  closedAt: string | null;
  acknowledgedAt: string | null;
}

/** An operator at `/dtx` of one app. */
export class Operator {
  constructor(
    private readonly shop: Stack,
    private readonly app: AppName,
  ) {}

  get(path: string): Promise<Answer> {
    return this.shop.get(this.app, `/dtx${path}`);
  }

  post(path: string, body: object = {}): Promise<Answer> {
    return this.shop.send(this.app, 'POST', `/dtx${path}`, body);
  }

  retry(id: string): Promise<Answer> {
    return this.post(`/transactions/${encodeURIComponent(id)}/retry`);
  }

  resolve(id: string, outcome: 'done' | 'reject'): Promise<Answer> {
    return this.post(`/transactions/${encodeURIComponent(id)}/resolve`, { outcome, note: 'looked into it' });
  }

  async parked(): Promise<Parked[]> {
    return (await this.get('/transactions?state=PARKED&limit=100')).body.items as Parked[];
  }

  async closeAll(): Promise<void> {
    for (const { id } of await this.parked()) await this.resolve(id, 'done');
  }

  /** Closes the parked rows of every running app, which tests have parked on purpose. */
  static async closeEverything(shop: Stack): Promise<void> {
    const apps = new Set(shop.instances.filter(({ exited }) => !exited).map(({ app }) => app));
    for (const app of apps) await new Operator(shop, app).closeAll();
  }

  /** Waits until the purchase is parked at this app. */
  parkedOf(gid: string): Promise<Parked> {
    return until(`${gid} is parked at ${this.app}`, async () => (await this.parked()).find((one) => one.gid === gid));
  }

  async alertsOf(subject: string): Promise<Alert[]> {
    const { items } = (await this.get('/alerts?limit=100')).body as { items: Alert[] };
    return items.filter((alert) => alert.subject === subject);
  }

  async summaryOf(source: string): Promise<{ parked: number } | undefined> {
    const { schemes } = (await this.get('/summary')).body as { schemes: Array<{ source: string; parked: number }> };
    return schemes.find((row) => row.source === source);
  }
}
