// A message that its sender withdraws while a copy of it is in the queue: no code of the user runs for it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const printing = contractOf(library, 'printing');
const elsewhere = contractOf(library, 'elsewhere', { app: 'inventory' });
const ran: string[] = [];
let sandbox: Sandbox;
const services: LittleService[] = [];

/** An instance of the app. Without consumers, the messages stay in their queue. */
async function start(consumers: boolean): Promise<LittleService> {
  const note = (step: string, { gid }: { gid: string }) => void ran.push(`${step} ${gid}`);
  const service = await LittleService.start({
    sandbox,
    library,
    controllers: [
      controllerOf([
        [library.OnMessage(printing), async (_tx: unknown, message: { gid: string }) => note('handler', message)],
        [library.BeforeAck(printing), async (message: { gid: string }) => note('before ack', message)],
      ]),
    ],
    core: { consumers },
  });
  services.push(service);
  return service;
}

beforeAll(async () => {
  sandbox = await freshSandbox('withdrawn_in_queue', { audited: false });
});
afterAll(async () => {
  for (const service of services) await service.close();
});

test('D6: neither the handler nor @BeforeAck runs for a message that was withdrawn in its queue', async () => {
  const sender = await start(false);
  const messages = sender.get(library.LocalMessages);
  const append = (gid: string) =>
    sender.source.transaction((tx) => messages.append(tx, printing, { gid }, { dueInMs: 0, name: gid }));
  const stateOf = async (id: string) =>
    (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox WHERE id = ?', [id]))[0]!.state;
  const ids = [await append('withdrawn'), await append('kept')];
  await until('both are in the queue', async () => (await Promise.all(ids.map(stateOf))).join() === 'SENT,SENT');
  const cancel = () => sender.source.transaction((tx) => messages.cancel(tx, printing, { name: 'withdrawn' }));
  expect(await cancel()).toBe('CANCELLED');

  await start(true);
  await until('the one behind it is done', async () => (await stateOf(ids[1]!)) === 'DONE');
  // The control: both steps ran for the other one.
  expect(ran).toEqual(['handler kept', 'before ack kept']);
  expect(await cancel()).toBe('CANCELLED');
  expect(await stateOf(ids[0]!)).toBe('CANCELLED');
  const open = await sql(sandbox, 'payment', `SELECT id FROM dtx_inbox WHERE state <> 'HANDLED'`);
  expect(open).toEqual([]);
});

test('D6: SENT becomes HANDLED with the receipt of a consumer with another database, and stays HANDLED', async () => {
  const sender = await start(false);
  const messages = sender.get(library.LocalMessages);
  const name = 'elsewhere';
  await sender.source.transaction((tx) => messages.append(tx, elsewhere, { gid: name }, { dueInMs: 0, name }));
  const cancel = () => sender.source.transaction((tx) => messages.cancel(tx, elsewhere, { name }));
  const inState = (state: string) =>
    until(`it is ${state}`, async () => {
      const rows = await sql(sandbox, 'payment', 'SELECT id FROM dtx_outbox WHERE gid = ? AND state = ?', [
        name,
        state,
      ]);
      return rows.length === 1;
    });
  await inState('SENT');
  expect(await cancel()).toBe('SENT');
  const controllers = [controllerOf([[library.OnMessage(elsewhere), async () => {}]])];
  services.push(await LittleService.start({ sandbox, library, app: 'inventory', controllers }));
  await inState('DONE');
  for (let n = 0; n < 2; n++) expect(await cancel()).toBe('HANDLED');
});
