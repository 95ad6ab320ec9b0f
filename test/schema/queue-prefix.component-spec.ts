import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { messagesIn, queueState } from '../fixtures/broker-queues.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { participantOf, libraryOf as tccLibraryOf } from '../tcc/little-app.js';

/**
 * Two environments of the same app on one virtual host. The first has the default prefix and the payment database, the
 * second the prefix `staging` and the order database.
 */
const library = libraryOf();
const noted = contractOf(library, 'note');
const sold = contractOf(library, 'sell', { replicated: true });
const printed = contractOf(library, 'print', { app: 'report' });
const funds = library.defineParticipant({ name: 'inventory.funds', version: 1, args: z.object({ gid: z.string() }) });
const ENVIRONMENTS = { production: 'payment', staging: 'order' } as const;
type Environment = keyof typeof ENVIRONMENTS;

const handled: Record<Environment, string[]> = { production: [], staging: [] };
const services = {} as Record<Environment, LittleService>;
/** Another service of the second environment. */
let participant: LittleService;
const confirmed: string[] = [];
let sandbox: Sandbox;

async function start(environment: Environment, queuePrefix?: string): Promise<LittleService> {
  const note = (what: string) =>
    ((_tx: unknown, { gid }: { gid: string }) => {
      handled[environment].push(`${what} ${gid}`);
    }) as never;
  return LittleService.start({
    sandbox,
    library,
    url: sandbox.databases[ENVIRONMENTS[environment]],
    core: { queuePrefix },
    controllers: [
      controllerOf([
        [library.OnMessage(noted), note('note')],
        [library.OnMessage(sold), note('sell')],
      ]),
    ],
  });
}

beforeAll(async () => {
  sandbox = await freshSandbox('queue_prefix', { audited: false });
  services.production = await start('production');
  services.staging = await start('staging', 'staging');
  participant = await LittleService.start({
    sandbox,
    library,
    app: 'inventory',
    core: { queuePrefix: 'staging' },
    providers: [participantOf(tccLibraryOf(), funds, { confirm: (_tx, { gid }) => confirmed.push(gid) })],
  });
});

afterAll(() => Promise.all([...Object.values(services), participant].map((service) => service?.close())));

const rowsOf = (environment: Environment, query: string, values: unknown[] = []) =>
  sql<{ state: string }>(sandbox, ENVIRONMENTS[environment], query, values);

test('a local message and its receipt stay in the environment of their prefix', async () => {
  const { staging } = services;
  await staging.source.transaction((tx) => staging.get(library.LocalMessages).append(tx, noted, { gid: 'local' }));
  const isDone = async () =>
    (await rowsOf('staging', 'SELECT state FROM dtx_outbox')).every((row) => row.state === 'DONE');
  await until('the message is handled and receipted', async () => handled.staging.includes('note local') && isDone());
  expect(handled.production).not.toContain('note local');
  expect(await queueState(sandbox, 'staging.payment.note.v1')).toMatchObject({ consumers: 1 });
  expect(await queueState(sandbox, 'staging.payment.receipts.v1')).toMatchObject({ consumers: 1 });
});

test('a half message and its checks stay in the environment of their prefix', async () => {
  await services.staging.get(library.HalfMessages).send(sold, { gid: 'half' }, async () => {});
  await until('the half message is done', async () =>
    (await rowsOf('staging', `SELECT state FROM dtx_half WHERE gid = 'half'`)).some((row) => row.state === 'DONE'),
  );
  const left = ['staging.payment.half-wait.1000ms.v1', 'staging.payment.half-check.v1'];
  await until('the prepared message has expired and is checked', async () =>
    (await Promise.all(left.map((queue) => messagesIn(sandbox, queue)))).every((count) => count === 0),
  );
  expect(handled.staging).toContain('sell half');
  expect(handled.production).not.toContain('sell half');
  expect(await rowsOf('production', 'SELECT state FROM dtx_half')).toEqual([]);
});

test('a TCC transaction calls a participant in another service of its environment, and gets its answers', async () => {
  const outcome = await services.staging
    .get(library.Tcc)
    .run({ gid: 'tcc' }, (calls) => calls.call(funds, { gid: 'tcc' }));
  expect(outcome).toMatchObject({ status: 'CONFIRMED' });
  expect(confirmed).toEqual(['tcc']);
  expect(await queueState(sandbox, 'staging.inventory.tcc-funds.v1')).toMatchObject({ consumers: 1 });
  expect(await queueState(sandbox, 'dtx.inventory.tcc-funds.v1')).toBeNull();
});

test('a message names the receipt queue of its environment, for consumers that are other programs', async () => {
  const { staging } = services;
  await staging.source.transaction((tx) => staging.get(library.LocalMessages).append(tx, printed, { gid: 'raw' }));
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  await until('the message is in its queue', () => messagesIn(sandbox, 'staging.report.print.v1'));
  const message = await (await connection.createChannel()).get('staging.report.print.v1.quorum');
  expect(message ? message.properties.replyTo : 'no message').toBe('staging.payment.receipts.v1.quorum');
});

test('an environment without the option keeps the prefix dtx', async () => {
  const { production } = services;
  await production.source.transaction((tx) =>
    production.get(library.LocalMessages).append(tx, noted, { gid: 'plain' }),
  );
  await until('the message is handled', () => handled.production.includes('note plain'));
  expect(handled.staging).not.toContain('note plain');
  expect(await queueState(sandbox, 'dtx.payment.note.v1')).toMatchObject({ consumers: 1 });
});
