import { randomUUID } from 'node:crypto';
import { type AppOptions, AppProcess } from '../fixtures/app-process.js';
import { status, type Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET } from '../fixtures/notifying-shop.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, APPS, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import type { RecordedBranch } from './installation-files.js';
import { dirtyRows, preparedXids } from './record-databases.js';

/** Leases and waits outlast the recording, so a later process leaves the work of a dead one as it is. */
const LONG_MS = 600_000;
const LONG = { firstMs: LONG_MS, factor: 1, capMs: LONG_MS };
const SHORT = { firstMs: 50, factor: 1, capMs: 50 };
const OPTIONS = {
  core: { leaseMs: LONG_MS, scanIntervalMs: 100, inbox: { backoff: LONG } },
  localMessage: { resend: LONG, markDelayMs: 1 },
  tcc: { timeoutMs: LONG_MS, callTimeoutMs: 1_000, backoff: LONG, markDelayMs: 1 },
  xa: { timeoutMs: LONG_MS, attemptsMax: 1_000, markDelayMs: 1 },
  halfMessage: { levelsMs: [LONG_MS], markDelayMs: 1 },
  notify: { ladderMs: [LONG_MS, LONG_MS], markDelayMs: 1 },
};
type Options = { [section in keyof typeof OPTIONS]?: object };

/** The key of a purchase that was settled before the recording. */
export const RECORDED_KEY = 'a-key-before-the-upgrade';
export const RECORDED_PURCHASE = { buyerId: 'keyed', sku: 'book', quantity: 1 };
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const BUYERS = ['alice', 'keyed', 'xa-decided', 'xa-orphan', 'xa-presumed'];
/**
 * A consumer holds its delivery until it is killed, after its receipt or before its handler. The prefetch leaves the other
 * messages in the queue.
 */
const RECEIPTED = `local-message.receipted=delay(${LONG_MS})`;
const HOLDING = `local-message.inserted=delay(${LONG_MS})`;

/** More than the starts of inventory that follow, because each start may store one delivery. */
const ORDERS_IN_QUEUE = 6;

const mergedOptions = (own: Options) =>
  Object.fromEntries(
    Object.entries(OPTIONS).map(([name, usual]) => [name, { ...usual, ...own[name as keyof typeof OPTIONS] }]),
  );

/** Brings the three apps of a build into every open state, one after the other, and ends all of them. */
export class RecordedWork {
  readonly branches: RecordedBranch[] = [];
  private readonly shop: Stack;
  private readonly defaults: Omit<AppOptions, 'sandbox'>;

  constructor(
    private readonly sandbox: Sandbox,
    private readonly about: {
      readonly root: string | undefined;
      readonly merchant: Target;
      readonly alertsUrl: string;
    },
  ) {
    const { root, merchant, alertsUrl } = about;
    const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: merchant.host, DTX_ALERT_WEBHOOK: alertsUrl };
    this.defaults = { ...(root ? { root } : {}), env };
    this.shop = new Stack(sandbox, this.defaults);
  }

  async make(): Promise<void> {
    await this.settled();
    await this.preparedBranches();
    await this.failedHandler();
    await this.tccTransactions();
    await this.notifications();
    await this.outboxRows();
    await this.halfMessages();
    await this.notificationInQueue();
  }

  private start(apps: readonly AppName[], { failpoints, ...options }: Options & { failpoints?: string } = {}) {
    return this.shop.start(apps, { options: mergedOptions(options), ...(failpoints ? { failpoints } : {}) });
  }

  async end(): Promise<void> {
    await Promise.all(this.shop.instances.map((instance) => instance.kill()));
  }

  private post(app: AppName, path: string, body: object, headers: Record<string, string> = {}) {
    return this.shop.send(app, 'POST', path, body, { 'idempotency-key': randomUUID(), ...headers });
  }

  /** Starts an app that dies at a failpoint, and makes the call that leads it there. */
  private async crash(app: AppName, at: string, [path, body]: [string, object], options: Options = {}): Promise<void> {
    const [victim] = await this.start([app], { ...options, failpoints: `${at}=1*crash` });
    this.post(app, path, body).catch(() => {}); // the answer dies with the victim
    await victim!.untilExited();
  }

  private untilState(app: AppName, table: string, state: string, count = 1): Promise<unknown> {
    return until(`${table} has ${count} rows in state ${state}`, async () => {
      const rows = await sql(this.sandbox, app, `SELECT id FROM ${table} WHERE state = '${state}'`);
      return rows.length >= count;
    });
  }

  private async settled(): Promise<void> {
    await this.start(APPS);
    for (const buyer of BUYERS) await this.shop.account(buyer, 1_000_000);
    for (const sku of ['book', 'mug', 'phone', 'item-0001']) await this.shop.stock(sku, 100);
    const keyed = await this.shop.order(RECORDED_PURCHASE, RECORDED_KEY);
    await this.shop.settled(keyed.orderId);
    await this.post('order', '/orders/xa', BOOK);
    await this.post('payment', '/checkouts', BOOK);
    const { body } = await this.post('inventory', '/flash-sales', BOOK);
    await this.shop.settled(String(body.orderId));
    await this.shop.stop();
  }

  /** One transaction with its decision, one without, and one that recovery has presumed aborted. */
  private async preparedBranches(): Promise<void> {
    const of = (buyerId: string, sku: string): [string, object] => ['/orders/xa', { buyerId, sku, quantity: 1 }];
    await this.recordBranches(() => this.crash('order', 'xa.decided', of('xa-decided', 'mug')));
    await this.recordBranches(() => this.crash('order', 'xa.prepared-all', of('xa-orphan', 'phone')));
    const xa = { timeoutMs: 1_500 };
    const at = 'xa.prepared-first=1*lost;xa.presumed';
    await this.recordBranches(() => this.crash('order', at, of('xa-presumed', 'item-0001'), { xa }));
  }

  private async recordBranches(work: () => Promise<void>): Promise<void> {
    const look = async (app: AppName) => ({
      app,
      rows: await dirtyRows(this.sandbox, app),
      xids: await preparedXids(this.sandbox, app),
    });
    const apps = ['payment', 'inventory'] as const;
    const before = await Promise.all(apps.map(look));
    await work();
    for (const { app, rows, xids } of before) {
      const after = await look(app);
      const statements = [...after.rows].filter((row) => !rows.has(row));
      for (const xid of after.xids.filter(({ gtrid }) => xids.every((one) => one.gtrid !== gtrid)))
        this.branches.push({ app, ...xid, statements });
    }
  }

  /** A handler that fails once waits in the inbox. A message that is not JSON is parked there. */
  private async failedHandler(): Promise<void> {
    await this.start(['order', 'payment']);
    await this.start(['inventory'], { failpoints: 'local-message.handled=1*error' });
    const probe = await QueueProbe.open(this.sandbox);
    await probe.publish('dtx.inventory.take-stock.v1', 'not JSON', {
      messageId: randomUUID(),
      type: 'order.placed.v1',
      headers: { 'dtx-scheme': 'local-message' },
    });
    await probe.close();
    await this.untilState('inventory', 'dtx_inbox', 'PARKED');
    await this.shop.order(BOOK);
    await this.untilState('inventory', 'dtx_inbox', 'RETRYING');
    await this.end();
  }

  private async tccTransactions(): Promise<void> {
    const checkout = (quantity: number): [string, object] => [
      '/checkouts',
      { buyerId: 'alice', sku: 'book', quantity },
    ];
    await this.start(['order', 'inventory']);
    await this.crash('payment', 'tcc.tried', checkout(1));
    await this.crash('payment', 'tcc.decided', checkout(1));
    await this.crash('payment', 'tcc.decided', checkout(500)); // more than there is: it is cancelled
    await this.end();
    await this.start(['order']);
    const [inventory] = await this.start(['inventory'], { failpoints: 'tcc.second-committed=1*crash' });
    await this.start(['payment'], { tcc: { ...OPTIONS.tcc, absentMs: 100, attemptsMax: 1, backoff: SHORT } });
    this.post('payment', ...checkout(2)).catch(() => {});
    await inventory!.untilExited();
    await this.untilState('payment', 'dtx_tcc', 'PARKED');
    await this.end();
  }

  /** A merchant that is busy, and one that is gone. */
  private async notifications(): Promise<void> {
    const { merchant } = this.about;
    merchant.behave('/busy', status(503));
    merchant.behave('/gone', status(410));
    await this.start(APPS);
    await this.post('payment', '/checkouts', { ...BOOK, notifyUrl: merchant.url('/busy') });
    await this.untilState('payment', 'dtx_notification', 'PENDING');
    await this.post('payment', '/checkouts', { ...BOOK, notifyUrl: merchant.url('/gone') });
    await this.untilState('payment', 'dtx_notification', 'PARKED');
    await this.end();
  }

  private async outboxRows(): Promise<void> {
    const localMessage = { resend: SHORT, attemptsMax: 1, markDelayMs: 1 };
    const [impatient] = await this.start(['order'], { localMessage });
    const notifyUrl = this.about.merchant.url('/later');
    await this.post('order', '/orders', { ...BOOK, notifyUrl });
    await this.untilState('order', 'dtx_outbox', 'PARKED');
    await impatient!.kill();
    const [order] = await this.start(['order']);
    const before = await sql(this.sandbox, 'order', `SELECT id FROM dtx_outbox WHERE state = 'SENT'`);
    for (let n = 0; n < ORDERS_IN_QUEUE; n++) await this.shop.order(BOOK);
    await this.untilState('order', 'dtx_outbox', 'SENT', before.length + ORDERS_IN_QUEUE);
    await order!.kill();
    await this.crash('order', 'local-message.committed', ['/orders', BOOK]);
  }

  private async halfMessages(): Promise<void> {
    const sale: [string, object] = ['/flash-sales', BOOK];
    const core = { prefetch: 1 };
    const [inventory] = await this.start(['inventory'], { core, failpoints: RECEIPTED });
    await this.untilSale(await this.post('inventory', ...sale));
    await this.post('inventory', '/restocks', { sku: 'book', quantity: 10 });
    await this.untilState('inventory', 'dtx_outbox', 'SENT');
    await inventory!.kill();
    const halfMessage = { levelsMs: [1_000] };
    const failpoints = `half-message.opened=1*delay(6000);${HOLDING}`;
    const [slow] = await this.start(['inventory'], { core, halfMessage, failpoints });
    const answer = this.post('inventory', ...sale);
    await this.untilState('inventory', 'dtx_half_parked', 'PARKED');
    await this.untilSale(await answer);
    await slow!.kill();
    await this.crash('inventory', `${HOLDING};half-message.committed`, sale, { core });
    await this.crash('inventory', `${HOLDING};half-message.prepared`, sale, { core });
  }

  private untilSale({ body }: Answer): Promise<unknown> {
    return until('the half message is SENT', async () => {
      const rows = await sql(this.sandbox, 'inventory', `SELECT id FROM dtx_half WHERE gid = ? AND state = 'SENT'`, [
        body.orderId,
      ]);
      return rows.length === 1;
    });
  }

  /** Payment has taken the money and published the notification, and dies before its receipt. Its own consumer acks nothing. */
  private async notificationInQueue(): Promise<void> {
    const failpoints = `notify.recorded=delay(${LONG_MS});notify.published=1*crash`;
    const options = mergedOptions({});
    const victim = AppProcess.spawn('payment', { ...this.defaults, sandbox: this.sandbox, options, failpoints });
    this.shop.instances.push(victim);
    await victim.untilExited();
  }
}

/** Ids and states of the open rows of a durable table. */
export async function statesOf(sandbox: Sandbox, app: AppName, table: string): Promise<string[]> {
  const rows = await sql<{ state: string }>(sandbox, app, `SELECT DISTINCT state FROM ${table} ORDER BY state`);
  return rows.map(({ state }) => state);
}
