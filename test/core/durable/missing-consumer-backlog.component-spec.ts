import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const BACKLOG = 20_000;
/** Messages of the backlog that may be looked at before the messages of other consumers have their turn. */
const SHARE = BACKLOG / 10;
const gone = 'payment.gone';
const alive = contractOf(library, 'alive');
const controllers = [controllerOf([[library.OnMessage(alive), async () => {}]])];
const halfAlive = contractOf(library, 'half-alive', { replicated: true });
const halfControllers = [controllerOf([[library.OnMessage(halfAlive), async () => {}]])];
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('backlog', { audited: false });
});
beforeEach(async () => {
  await start();
  // A queue with a message and no consumer is what a consumer leaves behind that is gone.
  const { publisher } = service.get(library.Broker);
  const envelope = { messageId: randomUUID(), type: 'test.gone.v1', gid: 'gone', scheme: 'test' };
  await publisher.publish('dtx.payment.gone.v1', Buffer.from('{}'), envelope);
  await publisher.publish('dtx.payment.half-gone.v1', Buffer.from('{}'), envelope, { kind: 'replicated' });
  await service.close();
});
afterAll(() => service?.close());

const start = async () => {
  service = await LittleService.start({ sandbox, library, controllers: [...controllers, ...halfControllers] });
};

interface Left {
  readonly table: 'dtx_outbox' | 'dtx_half';
  readonly state: string;
  readonly contract: string;
  readonly consumer: string;
  readonly due: string;
  readonly sentAt: string | null;
}

/** Puts rows into a table as a process that died has left them. */
async function leave(count: number, { table, state, contract, consumer, due, sentAt }: Left): Promise<void> {
  const awaiting = `,${consumer},`;
  const consumers = table === 'dtx_half' ? { consumers: consumer } : {};
  const common = { contract, version: 1, payload: '{"gid":"left"}', awaiting, ...consumers, state };
  const row = { ...common, gid: 'left', next_attempt_at: due, created_at: new Date(), sent_at: sentAt };
  const columns = `id, ${Object.keys(row).join(', ')}`;
  for (let left = count; left > 0; left -= 2_000) {
    const rows = Array.from({ length: Math.min(left, 2_000) }, () => [randomUUID(), ...Object.values(row)]);
    await sql(sandbox, 'payment', `INSERT INTO ${table} (${columns}) VALUES ?`, [rows]);
  }
}

const countOf = async (table: string, where: string) =>
  Number((await sql<{ n: number }>(sandbox, 'payment', `SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`))[0]!.n);

test.each([
  { table: 'dtx_outbox', contract: alive.name, consumer: 'payment.alive', dead: gone, unsent: 'PENDING' },
  {
    table: 'dtx_half',
    contract: halfAlive.name,
    consumer: 'payment.half-alive',
    dead: 'payment.half-gone',
    unsent: 'COMMITTED',
  },
] as const)(
  'a backlog of a missing consumer in $table does not delay rows that other processes have left',
  async (one) => {
    const { table, contract, consumer, dead, unsent } = one;
    const sent = {
      table,
      state: 'SENT',
      contract: 'test.gone',
      consumer: dead,
      sentAt: new Date().toISOString().slice(0, 19),
    };
    await leave(BACKLOG, { ...sent, due: '2021-01-01' });
    await leave(20, { table, state: unsent, contract, consumer, due: '2021-01-02', sentAt: null });
    await start();
    const done = () => countOf(table, `contract = '${contract}' AND state = 'DONE'`);
    await until('the messages of the live consumer are done', async () => (await done()) === 20, { withinMs: 60_000 });
    const looked = await countOf(table, `contract = 'test.gone' AND next_attempt_at > '2021-01-01'`);
    expect(looked).toBeGreaterThan(0);
    expect(looked).toBeLessThan(SHARE);
    await service.close();
  },
);
