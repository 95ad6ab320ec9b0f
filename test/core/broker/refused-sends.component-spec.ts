import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';

const SHORT = { firstMs: 100, factor: 1, capMs: 100 };
const ALL = '.*';
const USERS = ['refused-declares', 'refused-configure'];
const library = libraryOf();
const fine = contractOf(library, 'fine');
/** Their consumers are in another app, which does not run: only those who send declare their queues. */
const clash = contractOf(library, 'clash', { app: 'other' });
const absent = contractOf(library, 'absent', { app: 'other' });
let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('refused_sends', { audited: false });
  admin = await Administrator.of(sandbox);
});

afterAll(() => admin.close(USERS));

async function start(rabbitmqUrl: string): Promise<LittleService> {
  const service = await LittleService.start({
    sandbox,
    library,
    core: { rabbitmqUrl },
    localMessage: { attemptsMax: 3, resend: SHORT },
    controllers: [controllerOf([[library.OnMessage(fine), async () => {}]])],
  });
  onTestFinished(() => service.close());
  return service;
}

async function append(service: LittleService, contract: typeof fine, count: number): Promise<void> {
  const messages = service.get(library.LocalMessages);
  for (let n = 0; n < count; n++)
    await service.source.transaction((tx) => messages.append(tx, contract, { gid: `${contract.name}-${n}` }));
}

interface Row {
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string;
}
const rowsOf = ({ name }: { name: string }) =>
  sql<Row>(sandbox, 'payment', 'SELECT state, attempts, last_error FROM dtx_outbox WHERE contract = ?', [name]);
const allAre = async (contract: typeof fine, state: string) =>
  (await rowsOf(contract)).every((row) => row.state === state);
const alertsAbout = async ({ name }: { name: string }) =>
  (await sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE gid LIKE ?', [`${name}-%`])).length;

test('messages to a queue with other arguments are parked with an alert each, and all others are delivered', async () => {
  await admin.declare('dtx.other.clash.v1.quorum', 'classic');
  const service = await start(sandbox.rabbitmq);
  await append(service, clash, 10);
  await append(service, fine, 40);
  await until('all others are delivered', () => allAre(fine, 'DONE'));
  await until('those are parked', () => allAre(clash, 'PARKED'));
  for (const row of await rowsOf(clash))
    expect(row).toMatchObject({
      attempts: 3,
      last_error: expect.stringContaining('dtx.other.clash.v1.quorum: it exists with'),
    });
  expect(await alertsAbout(clash)).toBe(10);
});

test('messages to a queue that the account may not declare are parked with the right and the queue in their error', async () => {
  const rights = { configure: '^(?!dtx\\.other\\.).*$', write: ALL, read: ALL };
  const service = await start(await admin.account(USERS[0]!, 'secret', rights));
  await append(service, absent, 5);
  await until('they are parked', () => allAre(absent, 'PARKED'));
  for (const { last_error } of await rowsOf(absent))
    expect(last_error).toContain('the account lacks the right "configure" on dtx.other.absent.v1');
  expect(await alertsAbout(absent)).toBe(5);
});

test('an account without "configure" works on the existing queues and names the one that it cannot declare', async () => {
  const first = await start(sandbox.rabbitmq);
  await until('the first start has declared all', () => first.get(library.Broker).consumerProblems().length === 0);
  await first.close();
  const service = await start(await admin.account(USERS[1]!, 'secret', { configure: '^$', write: ALL, read: ALL }));
  await append(service, fine, 10);
  await until('all are delivered', async () => (await rowsOf(fine)).length >= 10 && (await allAre(fine, 'DONE')));
  const problems = await until('only one is left', () => {
    const found = service.get(library.Broker).consumerProblems();
    return found.length === 1 && /right/.test(found[0]!.reason) && found;
  });
  expect(problems[0]!.queue).toMatch(/^dtx\.payment\.tcc-answers\./);
  expect(problems[0]!.reason).toContain('lacks the right "configure"');
});
