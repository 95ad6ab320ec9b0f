// Local message: an order and its message are one commit, a relay publishes, a consumer takes stock once and sends a receipt.
// The sender's mark, the inbox, its stored deliveries and its retry are the library's own code.
import { inboxMigrations } from '../../libs/dtx/src/core/consumer/inbox-table.js';
import type { Endpoint } from '../../libs/dtx/src/core/consumer/incoming-message.js';
import { outboxMigrations } from '../../libs/dtx/src/local-message/outbox-table.js';
import type { Edit } from '../mutants/guard-edit.js';
import type { Model } from './explorer.js';
import { libraryCode } from './library-code.js';
import { ModelDatabase } from './model-database.js';
import type { Process } from './process.js';
import { ConnectionLost, isOfServer } from './server-errors.js';
import type { Row } from './statements.js';
import { type Budget, World } from './world.js';

type Code = Pick<typeof import('../../libs/dtx/src/core/consumer/handle-by-inbox.js'), 'Inbox'> &
  Pick<typeof import('../../libs/dtx/src/core/consumer/store-or-park-delivery.js'), 'StoredDeliveries'> &
  Pick<typeof import('../../libs/dtx/src/core/consumer/inbox-retry.js'), 'InboxRetry'> &
  Pick<typeof import('../../libs/dtx/src/local-message/relay.js'), 'Relay'>;

const ID = 'm';
const CONSUMER = 'inventory.take';
const ROW_ID = `${ID}.${CONSUMER}`;
const BODY = Buffer.from('{}');
const SCHEMA = { '~standard': { version: 1, vendor: 'model', validate: (value: unknown) => ({ value }) } };
const CONTRACT = { name: 'sold', version: 1, consumers: [CONSUMER], schema: SCHEMA };
const BACKOFF = { firstMs: 1, factor: 2, capMs: 9 };
const OPTIONS = {
  prefetch: 8,
  reconnect: {},
  absentMs: 1_000,
  inbox: { attemptsMax: 9, backoff: BACKOFF, retentionMs: 1_000 },
};
/** An error that the inbox waits out on the real thing. Here the delivery comes again. */
const AT_ONCE = { 'retry-while-unavailable.js': { retryWhileUnavailable: (_: unknown, run: () => unknown) => run() } };
const CONSUMER_FILES = ['handle-by-inbox', 'store-or-park-delivery', 'inbox-retry'];

export async function localMessageModel(budget: Budget, edits: readonly Edit[] = []): Promise<Model> {
  const files = [...CONSUMER_FILES.map((file) => `core/consumer/${file}.ts`), 'local-message/relay.ts'];
  const parts = await Promise.all(files.map((file) => libraryCode<Partial<Code>>(file, edits, AT_ONCE)));
  const code = Object.assign({}, ...parts) as Code;
  const shops = new WeakMap<World, Shop>();
  return {
    name: 'local message',
    begin: () => {
      const world = new World(budget);
      shops.set(world, new Shop(world, code));
      return world;
    },
    wrong: (world) => shops.get(world)!.wrong(),
    wrongAtEnd: (world) => shops.get(world)!.wrongAtEnd(),
  };
}

class Shop {
  private readonly sender: ModelDatabase;
  private readonly receiver: ModelDatabase;

  constructor(
    private readonly world: World,
    private readonly code: Code,
  ) {
    this.sender = new ModelDatabase(world, 'sender', outboxMigrations);
    this.receiver = new ModelDatabase(world, 'receiver', inboxMigrations);
    world.spawn('order', (self) => this.order(self));
    world.spawn('relay', (self) => this.scan(self), { again: true });
    world.spawn('retry', (self) => this.retry(self), { again: true });
  }

  private get outbox(): Row | undefined {
    return this.sender.rows('dtx_outbox')[0];
  }

  private get inbox(): Row | undefined {
    return this.receiver.rows('dtx_inbox')[0];
  }

  private async order(self: Process): Promise<void> {
    const order = this.sender.transaction(self, async (sql) => {
      await sql.query('INSERT INTO effect (what) VALUES (?)', ['order']);
      const insert = 'INSERT INTO dtx_outbox (id, state, claim_token) VALUES (?, ?, ?)';
      await sql.query(insert, [ID, 'PENDING', self.name]);
    });
    await quiet(order.then(() => this.send(self, self.name)));
  }

  /** A lease may expire at any time, so the relay of another instance may send the row beside the first. */
  private async scan(self: Process): Promise<void> {
    const token = self.nextName('claim');
    await self.step({
      label: 'claims the row',
      isEnabled: () => this.outbox !== undefined && this.outbox.state !== 'DONE',
      take: () => {
        this.sender.immediately(self, 'UPDATE dtx_outbox SET claim_token = ? WHERE id = ?', [token, ID]);
        return { value: undefined };
      },
    });
    await quiet(this.send(self, token));
  }

  private async send(self: Process, token: string): Promise<void> {
    await self.step({
      label: 'publishes, and the broker confirms',
      isEnabled: () => true,
      isUnseen: true,
      take: () => {
        this.deliver(self.nextName('delivery'));
        return { value: undefined };
      },
    });
    const database = { own: this.sender.pool(self) };
    const relay = Object.assign(Object.create(this.code.Relay.prototype), { database, options: { resend: BACKOFF } });
    await relay.markSent([{ id: ID, claim_token: token }]);
  }

  private deliver(name: string): void {
    this.world.spawn(name, (self) => this.receive(self, self.name !== name), { again: true, kind: 'delivery' });
  }

  private partsOf(self: Process) {
    const pool = this.receiver.pool(self);
    const work = { ...pool, run: (unit: never) => this.receiver.run(self, unit) };
    const time = { ageMs: () => 0, nowMs: () => 0, readNowMs: async () => 0 };
    const isAway = async (error: unknown) => error instanceof ConnectionLost;
    const database = { own: pool, work, ...time, isAway, names: { inDatabase: (name: string) => name } } as never;
    const stored = new this.code.StoredDeliveries(database, {} as never, OPTIONS as never);
    const receipts = { send: () => this.receipt(self) };
    const inbox = new this.code.Inbox(database, stored, receipts as never, OPTIONS as never);
    const handle = async (tx: unknown) => {
      const { query } = tx as { query(text: string, values: string[]): Promise<unknown> };
      await query('INSERT INTO effect (what) VALUES (?)', ['stock']);
    };
    const endpoint = { consumer: CONSUMER, contract: CONTRACT, handle, duplicates: 'inbox' } as unknown as Endpoint;
    return { database, stored, inbox, endpoint };
  }

  /** An unacked delivery comes again when its process or its connection is gone. */
  private async receive(self: Process, isAgain: boolean): Promise<void> {
    const { inbox, endpoint } = this.partsOf(self);
    const properties = { messageId: ID, type: 'sold.v1', replyTo: 'dtx.order.receipts.v1', headers: {} };
    const ack = () => {
      self.again = false;
    };
    for (let redelivered = isAgain; ; redelivered = true) {
      const delivery = { message: { content: BODY, properties, fields: { redelivered } }, ack };
      try {
        return await inbox.receive(delivery as never, endpoint);
      } catch (error) {
        if (!isOfServer(error)) throw error;
        self.forget();
        self.seen.push('again');
      }
    }
  }

  private async retry(self: Process): Promise<void> {
    for (;;) {
      self.forget();
      const token = self.nextName('claim');
      await self.step({
        label: 'claims the stored delivery',
        isEnabled: () => this.inbox?.state === 'RETRYING' && !this.receiver.isLocked('dtx_inbox'),
        take: () => {
          this.receiver.immediately(self, 'UPDATE dtx_inbox SET claim_token = ? WHERE id = ?', [token, ROW_ID]);
          return { value: undefined };
        },
      });
      const { database, stored, inbox, endpoint } = this.partsOf(self);
      const endpoints = new Map([[`${CONSUMER} sold.v1`, endpoint]]);
      const crowd = { waitOf: () => 1, forget: () => {}, restMsOf: () => 1 };
      const parts = { database, stored, inbox, endpoints, crowd, options: OPTIONS };
      const row = {
        id: ROW_ID,
        message_id: ID,
        consumer: CONSUMER,
        scheme: 'local-message',
        type: 'sold.v1',
        body: BODY,
      };
      const replyTo = { reply_to: 'dtx.order.receipts.v1', gid: null, traceparent: null, settled_at: null };
      const claimed = { ...row, ...replyTo, attempts: 0, claim_token: token };
      await Object.assign(Object.create(this.code.InboxRetry.prototype), parts).run(claimed);
    }
  }

  /** The sender marks the message DONE when its receipt comes. */
  private receipt(self: Process): Promise<void> {
    const done = `UPDATE dtx_outbox SET state = 'DONE', claim_token = NULL WHERE id = ? AND state IN ('PENDING', 'SENT')`;
    return self.step({
      label: 'sends the receipt',
      isEnabled: () => true,
      isUnseen: true,
      take: () => {
        const mark = (process: Process) => quiet(this.sender.pool(process).query(done, [ID]));
        this.world.spawn(self.nextName('receipt'), mark, { again: true, kind: 'receipt' });
        return { value: undefined };
      },
      faults: () => [{ label: 'the receipt is lost', take: () => ({ value: undefined }) }],
    });
  }

  wrong(): string | undefined {
    const [order, stock] = [this.sender.effects('order'), this.receiver.effects('stock')];
    if (stock > 1) return 'the stock is taken twice';
    if (stock && !order) return 'the stock is taken for an order that does not exist';
    if (this.outbox?.state === 'DONE' && !stock) return 'the message is DONE, and its stock was never taken';
    return undefined;
  }

  wrongAtEnd(): string | undefined {
    if (!this.sender.effects('order')) return undefined;
    if (!this.receiver.effects('stock')) return 'an order is committed, and its stock is not taken';
    return undefined;
  }
}

/** A lost answer ends the attempt. Another process goes on. */
const quiet = (work: Promise<unknown>): Promise<unknown> =>
  work.catch((error) => {
    if (!isOfServer(error)) throw error;
  });
