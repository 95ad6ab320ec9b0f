// The sender of a HELD head asks its receiver again and again. While no receiver runs, one copy in its queue is enough.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { queueOf } from '../../libs/dtx/src/core/broker/message-contract.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const held = library.defineMessage({
  name: 'test.held-alone',
  version: 1,
  schema: z.object({ key: z.string() }),
  consumers: ['inventory.held-alone'],
  gid: ({ key }: { key: string }) => key,
  inOrderOf: { stream: 'held-alone', key: ({ key }: { key: string }) => key },
});
const LOOKS = 3;
let sandbox: Sandbox;
let sender: LittleService;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('order_held_alone', { audited: false });
  sender = await LittleService.start({ sandbox, library });
  probe = await QueueProbe.open(sandbox);
});
afterAll(async () => {
  await probe?.close();
  await sender?.close();
});

test('a held head leaves one copy in the queue of a receiver that does not run, however often it is due', async () => {
  const fail = async () => {
    throw new Error('always');
  };
  const short = { firstMs: 100, factor: 1, capMs: 100 };
  const receiver = await LittleService.start({
    sandbox,
    library,
    app: 'inventory',
    controllers: [controllerOf([[library.OnMessage(held), fail]])],
    core: { inbox: { attemptsMax: 1, backoff: short } },
  });
  await sender.source.transaction((tx) => sender.get(library.LocalMessages).append(tx, held, { key: 'one' }));
  const read = `SELECT state, claim_token IS NULL AS is_free, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), next_attempt_at) AS wait_s
    FROM dtx_keyed`;
  const isAsleep = async () => {
    const [row] = await sql<{ state: string; is_free: number; wait_s: number }>(sandbox, 'payment', read);
    return row?.state === 'HELD' && Number(row.is_free) === 1 && Number(row.wait_s) > 600;
  };
  await until('it is held', isAsleep);
  await receiver.close();
  for (let look = 1; look <= LOOKS; look++) {
    await sql(sandbox, 'payment', 'UPDATE dtx_keyed SET next_attempt_at = UTC_TIMESTAMP(3)');
    await until('the sender has looked at it', isAsleep);
    // A look at a queue is remembered for a second.
    const since = performance.now();
    await until('the look is forgotten', () => performance.now() - since > 1_100);
  }
  expect(await probe.waiting(queueOf('inventory.held-alone', 1))).toBe(1);
});
