// The inbox row of a handled message may be purged before the row of its sender. No answer may then deny the handling.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const expiring = contractOf(library, 'expiring');
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('withdrawn_after_purge', { audited: false });
  const controllers = [controllerOf([[library.OnMessage(expiring), async () => {}]])];
  service = await LittleService.start({ sandbox, library, controllers, core: { purgeIntervalMs: 50 } });
  await sql(sandbox, 'payment', 'CREATE PROCEDURE commits() BEGIN COMMIT; START TRANSACTION; END');
});
afterAll(() => service?.close());

const messages = () => service.get(library.LocalMessages);
const append = (name: string, dueInMs: number) =>
  service.source.transaction((tx) => messages().append(tx, expiring, { gid: name }, { dueInMs, name }));
const cancel = (name: string) => service.source.transaction((tx) => messages().cancel(tx, expiring, { name }));
const outboxOf = async (id: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox WHERE id = ?', [id]))[0];
const inboxRows = (id: string) => sql(sandbox, 'payment', 'SELECT id FROM dtx_inbox WHERE message_id = ?', [id]);

/** The message was handled thirty days ago, so its inbox row goes, and an operator has it as parked at the sender. */
async function purged(name: string, outbox: string): Promise<string> {
  const id = await append(name, 0);
  await until('it is done', async () => (await outboxOf(id))?.state === 'DONE');
  const old = '- INTERVAL 30 DAY';
  await sql(sandbox, 'payment', `UPDATE dtx_outbox SET ${outbox} WHERE id = ?`, [id]);
  const ages = `created_at = created_at ${old}, settled_at = settled_at ${old}`;
  await sql(sandbox, 'payment', `UPDATE dtx_inbox SET ${ages} WHERE message_id = ?`, [id]);
  await until('its inbox row is purged', async () => (await inboxRows(id)).length === 0);
  return id;
}

test('the cancel of a message whose receipt has arrived is HANDLED', async () => {
  const id = await purged('received', 'done_at = done_at');
  for (let n = 0; n < 2; n++) expect(await cancel('received')).toBe('HANDLED');
  expect(await inboxRows(id)).toEqual([]);
});

test('the cancel of an old message without a receipt is SENT, since nothing tells whether it was handled', async () => {
  const unsure = `state = 'PARKED', awaiting = ',${expiring.consumers[0]},', sent_at = sent_at - INTERVAL 30 DAY`;
  const id = await purged('unsure', unsure);
  expect(await cancel('unsure')).toBe('SENT');
  expect(await inboxRows(id)).toEqual([]);
});

test('an early commit of the caller says that the replaced message is cancelled and stays so', async () => {
  const before = await append('replaced', 60_000);
  const replacing = service.source.transaction(async (tx) => {
    const options = { dueInMs: 60_000, name: 'replaced', replace: true };
    await messages().append(tx, expiring, { gid: 'replaced' }, options);
    await tx.query('CALL commits()');
  });
  await expect(replacing).rejects.toMatchObject({
    name: 'OutcomeUnknown',
    message: expect.stringContaining(`the cancel of a message of ${expiring.name} was committed early and stays`),
  });
  expect(await outboxOf(before)).toEqual({ state: 'CANCELLED' });
});

test('an early commit of the caller says that a message was moved and stays so', async () => {
  await append('moved', 60_000);
  const moving = service.source.transaction(async (tx) => {
    expect(await messages().reschedule(tx, expiring, { name: 'moved' }, { dueInMs: 120_000 })).toBe(true);
    await tx.query('CALL commits()');
  });
  await expect(moving).rejects.toMatchObject({
    name: 'OutcomeUnknown',
    message: expect.stringContaining('the reschedule of a message'),
  });
});
