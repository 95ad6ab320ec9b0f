import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { management } from '../../tools/src/servers/broker-api.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const contract = library.defineMessage({
  name: 'test.refused',
  version: 1,
  schema: z.object({ n: z.number() }),
  consumers: ['inventory.refused'],
  gid: ({ n }: { n: number }) => `refused-${n}`,
  inOrderOf: { stream: 'refused', key: () => 'one' },
});
const handled: number[] = [];
const queues = 'classic' as const;
let sandbox: Sandbox;
let sender: LittleService;
let receiver: LittleService | undefined;
let policy: string;

beforeAll(async () => {
  sandbox = await freshSandbox('order_refused_publish', { audited: false });
  policy = `/policies/${encodeURIComponent(sandbox.vhost)}/full`;
  // Each publish is rejected with a nack.
  const definition = { 'max-length': 0, overflow: 'reject-publish' };
  const pattern = '^dtx\\.inventory\\.refused\\.';
  await management(sandbox.management, 'PUT', policy, { pattern, definition, 'apply-to': 'queues' });
  const localMessage = { absentMs: 1_500, attemptsMax: 3, resend: { firstMs: 100, factor: 1, capMs: 100 } };
  sender = await LittleService.start({ sandbox, library, localMessage, core: { leaseMs: 300, queues } });
});

afterAll(async () => {
  await receiver?.close();
  await sender?.close();
});

const rows = () =>
  sql<{ id: string; state: string; last_error: string | null }>(
    sandbox,
    'payment',
    'SELECT id, state, last_error FROM dtx_keyed ORDER BY seq',
  );
const states = async () => (await rows()).map(({ state }) => state).join();

test('O3: the successors of a message that the broker refuses wait, and come after it', async () => {
  await sender.source.transaction(async (tx) => {
    for (const n of [1, 2, 3]) await sender.get(library.LocalMessages).append(tx, contract, { n });
  });
  await until('the first one is parked', async () => (await states()) === 'PARKED,WAITING,WAITING');
  const [head] = await rows();
  expect(head!.last_error).toMatch(/RabbitMQ rejected the message \(nack\).*2 later messages of the key wait/);

  await management(sandbox.management, 'DELETE', policy);
  const handle = async (_tx: unknown, { n }: { n: number }) => void handled.push(n);
  const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
  receiver = await LittleService.start({ sandbox, library, app: 'inventory', controllers, core: { queues } });
  await Promise.all(
    sender.get(library.Operations).sources.map((one) => one.retry(head!.id, { note: 'the queue has room' })),
  );
  await until('all are handled', async () => (await states()) === 'DONE,DONE,DONE');
  expect(handled).toEqual([1, 2, 3]);
});
