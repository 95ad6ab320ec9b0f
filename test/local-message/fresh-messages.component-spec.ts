import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

/** Each due row keeps its place in the window for this time. The library reads the variable when it is loaded. */
process.env.DTX_FAILPOINTS = 'local-message.claimed=delay(200)';
const library = libraryOf();
const WINDOW = 8;
/** Consumers that do not run. Each one could fill the window with its rows. */
const BACKLOGGED = Array.from({ length: 3 * WINDOW }, (_, n) => `payment.old-${n}`);
const ROWS = 400;
const FRESH = 20;
const fresh = contractOf(library, 'fresh');
const handled = new Set<string>();
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('fresh_messages', { audited: false });
  const consume = async (_tx: unknown, message: { gid: string }) => void handled.add(message.gid);
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(fresh), consume]])],
    localMessage: { relayWindowMax: WINDOW, consumerWindowMax: WINDOW },
    // A message without a place on the fast path would wait for the end of its lease.
    core: { leaseMs: 300_000 },
  });
});
afterAll(() => service?.close());

test('fresh messages are sent at once while due rows fill the rest of the window', async () => {
  const due = BACKLOGGED.flatMap((consumer) =>
    Array.from({ length: ROWS }, () => [randomUUID(), 'old', 'test.old', 1, '{}', `,${consumer},`, 'PENDING']),
  );
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
     VALUES ${due.map(() => '(?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))').join(', ')}`,
    due,
  );
  const count = async (what: string) => {
    const query = `SELECT COUNT(${what}) AS n FROM dtx_outbox WHERE contract = 'test.old'`;
    return Number((await sql<{ n: number }>(sandbox, 'payment', query))[0]!.n);
  };
  // A consumer may use the whole window after its first message.
  const sentTo = () => count(`DISTINCT IF(state = 'SENT', awaiting, NULL)`);
  await until('each consumer of the backlog has got a message', async () => (await sentTo()) === BACKLOGGED.length);
  for (let n = 0; n < FRESH; n++) {
    const gid = `fresh-${n}`;
    await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, fresh, { gid }));
    await until(`${gid} is handled`, () => handled.has(gid), { everyMs: 5 });
  }
  expect(await count(`IF(state = 'PENDING', 1, NULL)`)).toBeGreaterThan(ROWS);
});
