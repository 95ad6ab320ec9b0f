import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf, type ServiceOptions } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const TOKEN = 'the admin token';
const CONSUMER = 'payment.refusable';
const contract = contractOf(library, 'refusable');
const rejected: string[] = [];
const onMessage = [library.OnMessage(contract), async () => {}] as const;
const onRejected = [
  library.OnRejected(contract),
  async (_: unknown, { gid }: { gid: string }) => rejected.push(gid),
] as const;
let sandbox: Sandbox;
let service: LittleService;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('reject_without_handler', { audited: false });
});
beforeEach(() => {
  rejected.length = 0;
});
afterEach(() => service?.close());

async function start(methods: Parameters<typeof controllerOf>[0], core: ServiceOptions['core'] = {}): Promise<void> {
  const imports = [library.OpsModule.forRoot({ adminToken: TOKEN })];
  service = await LittleService.start({ sandbox, library, controllers: [controllerOf(methods)], core, imports });
  await service.app.listen(0, '127.0.0.1');
}

/** A parked delivery of the consumer. Returns its id. */
async function park(type: string | null = 'test.refusable.v1'): Promise<string> {
  const message = `message-${++count}`;
  const id = `${message}.${CONSUMER}`;
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body)
     VALUES (?, ?, ?, ?, 'local-message', ?, 'PARKED', '9999-12-31', UTC_TIMESTAMP(3), ?)`,
    [id, message, CONSUMER, message, type, JSON.stringify({ gid: message })],
  );
  return id;
}

async function resolve(id: string, outcome: 'done' | 'reject') {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ outcome, note: 'looked into it' });
  const url = `${await service.app.getUrl()}/dtx/transactions/${id}/resolve`;
  const response = await fetch(url, { method: 'POST', headers, body });
  return { status: response.status, body: (await response.json()) as { message: string } };
}

/** The text of the 409 that answers a rejection. */
async function refusal(id: string): Promise<string> {
  const { status, body } = await resolve(id, 'reject');
  expect(status, JSON.stringify(body)).toBe(409);
  return body.message;
}

const stateOf = async (id: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_inbox WHERE id = ?', [id]))[0]!.state;

describe('a rejection of a parked delivery', () => {
  test('names the missing handler at an instance with consumers: false, and succeeds where the handler is', async () => {
    await start([onMessage, onRejected], { consumers: false });
    const id = await park();
    const detail = await refusal(id);
    expect(detail).toContain(`this instance has no handler of ${CONSUMER} for test.refusable.v1`);
    expect(detail).toContain('call an instance that serves it');
    expect(detail).not.toContain('done');
    expect([await stateOf(id), rejected]).toEqual(['PARKED', []]);
    await service.close();

    await start([onMessage, onRejected]);
    expect(await resolve(id, 'reject')).toMatchObject({ status: 200, body: { state: 'HANDLED' } });
    expect([await stateOf(id), rejected]).toEqual(['HANDLED', [id.replace(`.${CONSUMER}`, '')]]);
  });

  test('names the missing handler at an instance that serves an older version of the message', async () => {
    await start([onMessage, onRejected]);
    const id = await park('test.refusable.v2');
    const detail = await refusal(id);
    expect(detail).toContain(`this instance has no handler of ${CONSUMER} for test.refusable.v2`);
    expect(await stateOf(id)).toBe('PARKED');
  });

  test('advises done where the handler is mounted without an @OnRejected', async () => {
    await start([onMessage]);
    const id = await park();
    const detail = await refusal(id);
    expect(detail).toContain('its scheme has no rejection; use {"outcome":"done"}');
    expect(await resolve(id, 'done')).toMatchObject({ status: 200, body: { state: 'HANDLED' } });
  });

  test('advises done for a message without a type, which no instance can serve', async () => {
    await start([], { consumers: false });
    const id = await park(null);
    const detail = await refusal(id);
    expect(detail).toContain('use {"outcome":"done"}');
  });

  test('says that a settled delivery is settled, also at an instance without the handler', async () => {
    await start([], { consumers: false });
    const id = await park();
    expect((await resolve(id, 'done')).status).toBe(200);
    expect(await refusal(id)).toContain('already settled');
  });
});
