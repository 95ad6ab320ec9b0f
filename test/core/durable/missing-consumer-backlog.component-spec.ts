import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const BACKLOG = 20_000;
/** Messages of the backlog that may be claimed and postponed one by one. */
const ONE_BY_ONE_MAX = BACKLOG / 10;
/** Statements that may postpone the backlog. */
const STATEMENTS_MAX = BACKLOG / 500;
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

/** The rows that each UPDATE of a table in the library's own sessions has changed, outside transactions. */
function recordUpdates(table: string): Array<{ statement: string; rows: number }> {
  const updates: Array<{ statement: string; rows: number }> = [];
  const { own } = service.get(library.Database);
  const query = own.query.bind(own);
  own.query = async (statement, values) => {
    const result = await query<never>(statement, values);
    const isOfTable = statement.startsWith('UPDATE') && statement.includes(table);
    if (isOfTable) updates.push({ statement, rows: (result as { affectedRows: number }).affectedRows });
    return result;
  };
  return updates;
}

const isOneByOne = ({ statement }: { statement: string }) => statement.includes('SET next_attempt_at');
const rowsOf = (updates: ReadonlyArray<{ rows: number }>) => updates.reduce((sum, { rows }) => sum + rows, 0);

const sentTo = (consumer: string, contract = 'test.gone') =>
  ({ state: 'SENT', contract, consumer, sentAt: new Date().toISOString().slice(0, 19) }) as const;

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
  'a backlog of a missing consumer in $table is postponed by few statements and delays no row that another process has left',
  async ({ table, contract, consumer, dead, unsent }) => {
    await leave(BACKLOG, { table, ...sentTo(dead), due: '2021-01-01' });
    await leave(20, { table, state: unsent, contract, consumer, due: '2021-01-02', sentAt: null });
    await start();
    const updates = recordUpdates(table);
    const done = () => countOf(table, `contract = '${contract}' AND state = 'DONE'`);
    const due = () => countOf(table, `contract = 'test.gone' AND next_attempt_at < UTC_TIMESTAMP(3)`);
    await until('the messages of the live consumer are done', async () => (await done()) === 20, { withinMs: 60_000 });
    await until('the backlog is postponed', async () => (await due()) === 0, { withinMs: 60_000 });
    expect(rowsOf(updates.filter(isOneByOne))).toBeLessThan(ONE_BY_ONE_MAX);
    expect(updates.length).toBeLessThan(STATEMENTS_MAX);
    expect(await countOf(table, `last_error LIKE 'no consumer on queue dtx.${dead}.v1%'`)).toBe(BACKLOG);
    await service.close();
  },
);
