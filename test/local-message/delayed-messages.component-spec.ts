// The faults D1 to D12 of other systems with delayed messages, each by its smallest input. The rule is in the title.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const DAY_MS = 86_400_000;
const reminder = contractOf(library, 'reminder');
const redisReminder = contractOf(library, 'redis-reminder');
const remote = contractOf(library, 'remote', { app: 'billing' });
const handled: string[] = [];
const lags: Array<number | undefined> = [];
const settleTimes: Array<number | undefined> = [];
let sandbox: Sandbox;
let service: LittleService;

const consume = async (_tx: unknown, message: { gid: string }) => void handled.push(message.gid);
const start = () =>
  LittleService.start({
    sandbox,
    library,
    controllers: [
      controllerOf([
        [library.OnMessage(reminder), consume],
        [library.OnMessage(redisReminder, { duplicates: 'redis' }), consume],
      ]),
    ],
  });

beforeAll(async () => {
  sandbox = await freshSandbox('delayed_messages', { audited: false });
  service = await start();
  library.onMeasured('delivered', ({ lagMs }) => void lags.push(lagMs));
  library.onMeasured('settled', ({ ms }) => void settleTimes.push(ms));
});
afterAll(() => service?.close());

type Contract = typeof reminder;
type Options = Parameters<InstanceType<typeof library.LocalMessages>['append']>[3];
const messages = () => service.get(library.LocalMessages);
const append = (contract: Contract, gid: string, options: Options) =>
  service.source.transaction((tx) => messages().append(tx, contract, { gid }, options));
const cancel = (contract: Contract, which: { name: string } | { id: string }) =>
  service.source.transaction((tx) => messages().cancel(tx, contract, which));
const move = (name: string, dueInMs: number) =>
  service.source.transaction((tx) => messages().reschedule(tx, reminder, { name }, { dueInMs }));

interface Row {
  state: string;
  attempts: number;
  is_early: number | null;
  due_in_s: number | null;
  claim_token: string | null;
}
const rowOf = async (id: string) =>
  (
    await sql<Row>(
      sandbox,
      'payment',
      `SELECT state, attempts, claim_token, sent_at < created_at AS is_early,
         TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), next_attempt_at) AS due_in_s FROM dtx_outbox WHERE id = ?`,
      [id],
    )
  )[0]!;
const inState = (id: string, state: string) =>
  until(`${id} is ${state}`, async () => {
    const row = await rowOf(id);
    return row?.state === state && row;
  });

/** Puts a stored message back in time, as if it had waited since then. */
async function age(id: string, ms: number): Promise<string> {
  const at = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) - ms;
  const hex = at.toString(16).padStart(12, '0');
  const older = `${hex.slice(0, 8)}-${hex.slice(8)}${id.slice(13)}`;
  const past = `- INTERVAL ${ms * 1_000} MICROSECOND`;
  await sql(
    sandbox,
    'payment',
    `UPDATE dtx_outbox SET id = ?, created_at = created_at ${past}, next_attempt_at = next_attempt_at ${past},
       scheduled_at = scheduled_at ${past} WHERE id = ?`,
    [older, id],
  );
  return older;
}

test('D3, D10: a message waits from the commit until it is due by the clock of the database, and is never early', async () => {
  const ids = await Promise.all(
    Array.from({ length: 50 }, (_, n) => append(reminder, `wait-${n}`, { dueInMs: 300 + 20 * n })),
  );
  expect((await rowOf(ids[49]!)).state).toBe('SCHEDULED');
  expect(handled).not.toContain('wait-49');
  for (const id of ids) expect(await inState(id, 'DONE')).toMatchObject({ is_early: 0 });
});

test('D10: a moment is taken as it is, whatever the zone of the session, and one in the past is due at once', async () => {
  const id = await service.source.transaction(async (tx) => {
    await tx.query(`SET time_zone = '+09:00'`);
    const sent = await messages().append(tx, reminder, { gid: 'moment' }, { dueAt: new Date(Date.now() + 3_600_000) });
    await tx.query(`SET time_zone = DEFAULT`);
    return sent;
  });
  expect(Math.abs((await rowOf(id)).due_in_s! - 3_600)).toBeLessThan(60);
  await inState(await append(reminder, 'past', { dueAt: new Date(0) }), 'DONE');
  await cancel(reminder, { id });
});

test('D9, D11: one in 30 days waits for 30 days, and a later one that is due sooner is not behind it', async () => {
  const far = await append(reminder, 'far', { dueInMs: 30 * DAY_MS, name: 'far' });
  await inState(await append(reminder, 'near', { dueInMs: 100 }), 'DONE');
  const { due_in_s } = await rowOf(far);
  expect(Math.abs(due_in_s! - 30 * 86_400)).toBeLessThan(60);
  expect(await cancel(reminder, { name: 'far' })).toBe('CANCELLED');
});

test('D4: a message that was due after 9 days is handled, and its wait is in no lag', async () => {
  lags.length = 0;
  settleTimes.length = 0;
  const id = await age(await append(reminder, 'nine-days', { dueInMs: 9 * DAY_MS + 200 }), 9 * DAY_MS);
  await inState(id, 'DONE');
  const [inbox] = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_inbox WHERE message_id = ?', [
    id,
  ]);
  expect(inbox!.state).toBe('HANDLED');
  for (const ms of [...lags, ...settleTimes]) expect(ms ?? 0).toBeLessThan(60_000);
});

test('D4, control: a message without a delay that is 9 days old is parked, since it may have been handled', async () => {
  const id = await service.source.transaction((tx) => messages().append(tx, remote, { gid: 'old' }));
  const older = await age(id, 9 * DAY_MS);
  await sql(
    sandbox,
    'payment',
    `UPDATE dtx_outbox SET state = 'PENDING', contract = 'test.reminder', awaiting = ',payment.reminder,',
       claim_token = NULL, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [older],
  );
  const parked = await until('it is parked', async () => {
    const query = 'SELECT last_error FROM dtx_inbox WHERE message_id = ?';
    return (await sql<{ last_error: string }>(sandbox, 'payment', query, [older]))[0];
  });
  expect(parked.last_error).toMatch(/older than inbox.retentionMs/);
});

test('D6: a cancel in time keeps the message from every consumer, and the answer is the same when repeated', async () => {
  const id = await append(reminder, 'withdrawn', { dueInMs: 500, name: 'withdrawn' });
  for (let n = 0; n < 3; n++) expect(await cancel(reminder, { name: 'withdrawn' })).toBe('CANCELLED');
  expect(await cancel(reminder, { id })).toBe('CANCELLED');
  await inState(await append(reminder, 'after-withdrawn', { dueInMs: 700 }), 'DONE');
  expect(handled).not.toContain('withdrawn');
  expect(await rowOf(id)).toMatchObject({ state: 'CANCELLED', due_in_s: null });
});

test('D6: a cancel that is rolled back leaves the message to be sent', async () => {
  const id = await append(reminder, 'kept', { dueInMs: 300 });
  await expect(
    service.source.transaction(async (tx) => {
      expect(await messages().cancel(tx, reminder, { id })).toBe('CANCELLED');
      throw new Error('roll back');
    }),
  ).rejects.toThrow('roll back');
  await inState(id, 'DONE');
  expect(await cancel(reminder, { id })).toBe('HANDLED');
  expect(await cancel(reminder, { id })).toBe('HANDLED');
});

test('D6: for a consumer with another database the answer is SENT once the message is on its way', async () => {
  const id = await append(remote, 'remote', { dueInMs: 0, name: 'remote' });
  await until('it is sent', async () => (await rowOf(id)).state !== 'SCHEDULED');
  expect(await cancel(remote, { name: 'remote' })).toBe('SENT');
  expect(await cancel(remote, { name: 'remote' })).toBe('SENT');
  const later = await append(remote, 'remote-later', { dueInMs: DAY_MS });
  expect(await cancel(remote, { id: later })).toBe('CANCELLED');
  expect(await cancel(remote, { name: 'nobody' })).toBe('NOT_FOUND');
  expect(await cancel(reminder, { id: later })).toBe('NOT_FOUND');
});

test('D7: a moved message is one row with a new due time, once moved and never moved back to the delay', async () => {
  const id = await append(reminder, 'moved', { dueInMs: 300, name: 'moved' });
  expect(await move('moved', DAY_MS)).toBe(true);
  await inState(await append(reminder, 'after-moved', { dueInMs: 600 }), 'DONE');
  expect(Math.abs((await rowOf(id)).due_in_s! - 86_400)).toBeLessThan(60);
  expect(await move('moved', 0)).toBe(true);
  await inState(id, 'DONE');
  expect(handled.filter((gid) => gid === 'moved')).toHaveLength(1);
  expect(await move('moved', DAY_MS)).toBe(false);
  expect((await rowOf(id)).state).toBe('DONE');
  expect(await move('nobody', DAY_MS)).toBe(false);
});

test('D8: a name is taken while its message is open, and free again afterwards', async () => {
  const first = await append(reminder, 'named-1', { dueInMs: DAY_MS, name: 'named' });
  await expect(append(reminder, 'named-2', { dueInMs: DAY_MS, name: 'named' })).rejects.toThrow(
    new library.NameTaken('test.reminder', 'named', 'SCHEDULED'),
  );
  const second = await append(reminder, 'named-3', { dueInMs: DAY_MS, name: 'named', replace: true });
  expect((await rowOf(first)).state).toBe('CANCELLED');
  expect(await cancel(reminder, { name: 'named' })).toBe('CANCELLED');
  expect((await rowOf(second)).state).toBe('CANCELLED');
  await inState(await append(reminder, 'named-4', { dueInMs: 0, name: 'named' }), 'DONE');
  await append(reminder, 'named-5', { dueInMs: DAY_MS, name: 'named' });
});

test('D8: of two transactions that take a name at once, one gets it', async () => {
  const both = await Promise.allSettled(
    [1, 2].map((n) => append(reminder, `race-${n}`, { dueInMs: DAY_MS, name: 'race' })),
  );
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(both.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { name: 'NameTaken' } });
});

test('D2: 1,000 messages that are due at once are each sent once', async () => {
  await service.source.transaction(async (tx) => {
    for (let n = 0; n < 1_000; n++) await messages().append(tx, reminder, { gid: `flood-${n}` }, { dueInMs: 500 });
  });
  await until('all are handled', () => handled.filter((gid) => gid.startsWith('flood-')).length >= 1_000);
  expect(new Set(handled.filter((gid) => gid.startsWith('flood-'))).size).toBe(1_000);
}, 60_000);

test('a consumer with duplicates by Redis handles a delayed message once, and its sender can withdraw it', async () => {
  const id = await append(redisReminder, 'by-redis', { dueInMs: 100 });
  await inState(id, 'DONE');
  expect(handled.filter((gid) => gid === 'by-redis')).toHaveLength(1);
  expect(await cancel(redisReminder, { id })).toBe('HANDLED');
});

test('D12: the scan of another instance sends the message of an instance that is gone', async () => {
  const id = await append(reminder, 'left', { dueInMs: 1_500 });
  await service.close();
  service = await start();
  await inState(id, 'DONE');
});

test('a malformed delay, name or id is refused with what to do', async () => {
  const refuse = (options: unknown) => expect(append(reminder, 'bad', options as Options)).rejects;
  await refuse({}).toThrow('give either dueInMs (milliseconds) or dueAt (a Date)');
  await refuse({ dueInMs: 1, dueAt: new Date() }).toThrow('give either dueInMs');
  await refuse({ dueInMs: -1 }).toThrow('dueInMs must be a whole number of milliseconds from 0, got -1');
  await refuse({ dueAt: new Date('x') }).toThrow('dueAt must be a valid Date');
  await refuse({ dueInMs: 401 * DAY_MS }).toThrow('more than localMessage.delayMaxMs');
  await refuse({ dueInMs: 1, name: 'a b' }).toThrow('invalid message name for test.reminder');
  await expect(cancel(reminder, {} as never)).rejects.toThrow('give either { name } or { id }');
  await expect(cancel(reminder, { id: 'x' })).rejects.toThrow('invalid message id');
  await expect(messages().cancel(service.source.manager, reminder, { name: 'x' })).rejects.toThrow(
    library.TransactionRequired,
  );
});
