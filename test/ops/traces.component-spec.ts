import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const TOKEN = 'the admin token';
const auth = { authorization: `Bearer ${TOKEN}` };
const contract = library.defineMessage({
  name: 'test.traced',
  version: 1,
  schema: z.looseObject({ gid: z.string() }),
  consumers: ['payment.traced'],
  gid: ({ gid }) => gid,
});
let sandbox: Sandbox;
let service: LittleService;
let url: string;

beforeAll(async () => {
  sandbox = await freshSandbox('ops_traces', { audited: false });
  await start({});
});
afterAll(() => service?.close());

async function start(ops: { payloads?: 'masked' }): Promise<void> {
  await service?.close();
  const handle = (_tx: unknown, { fails }: { fails?: boolean }) => {
    if (fails) throw new Error('the shelf is broken');
  };
  const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
  const imports = [library.OpsModule.forRoot({ adminToken: TOKEN, ...ops })];
  const options = { core: { inbox: { attemptsMax: 1 } }, localMessage: { payloadMaxBytes: 4_000_000 } };
  service = await LittleService.start({ sandbox, library, controllers, imports, ...options });
  await service.app.listen(0, '127.0.0.1');
  url = `${await service.app.getUrl()}/dtx`;
}

const get = async <Body = object>(path: string, headers: Record<string, string> = auth) => {
  const response = await fetch(`${url}${path}`, { headers });
  return { status: response.status, body: (await response.json()) as Body };
};
const send = (payload: { gid: string; [field: string]: unknown }) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, payload));

interface Payload {
  bytes: number;
  text: string | null;
}
interface Row {
  source: string;
  id: string;
  state: string;
  lastError: string | null;
  timeline: Array<{ at: string; event: string }>;
  message: { id: string; end: string; consumers: string[]; awaiting: string[] } | null;
}
const traceOf = async (gid: string) =>
  (await get<{ rows: Row[]; alerts: Array<{ gid: string }>; isComplete: boolean }>(`/traces/${gid}`)).body;
const settled = (gid: string, state = 'DONE') =>
  until(`${gid} is ${state}`, async () => {
    const trace = await traceOf(gid);
    return trace.rows.some((row) => row.source === 'dtx_outbox' && row.state === state) && trace;
  });

describe('GET /dtx/traces/{gid}', () => {
  test('a message has both of its ends, joined by its id, with their times', async () => {
    const id = await send({ gid: 'a-purchase' });
    const { rows, alerts, isComplete } = await settled('a-purchase');
    expect(rows.map(({ source, state }) => [source, state])).toEqual([
      ['dtx_outbox', 'DONE'],
      ['dtx_inbox', 'HANDLED'],
    ]);
    const [sent, received] = rows;
    expect(sent!.message).toEqual({ id, end: 'sender', consumers: ['payment.traced'], awaiting: [] });
    expect(received!.message).toEqual({ id, end: 'receiver', consumers: ['payment.traced'], awaiting: [] });
    for (const { timeline } of rows) {
      expect(timeline.length).toBeGreaterThan(0);
      expect(timeline.map(({ at }) => at)).toEqual(timeline.map(({ at }) => at).sort());
    }
    expect([alerts, isComplete]).toEqual([[], true]);
  });

  test('a parked delivery has its error, its alert and, after a retry, the operator', async () => {
    await send({ gid: 'parked-one', fails: true });
    const { rows, alerts } = await until('it is parked', async () => {
      const trace = await traceOf('parked-one');
      return trace.alerts.length > 0 && trace.rows.some(({ state }) => state === 'PARKED') && trace;
    });
    const parked = rows.find(({ state }) => state === 'PARKED')!;
    expect(parked).toMatchObject({ source: 'dtx_inbox', lastError: expect.stringContaining('the shelf is broken') });
    expect(alerts).toHaveLength(1);
    const headers = { ...auth, 'dtx-operator': 'alice' };
    await fetch(`${url}/transactions/${encodeURIComponent(parked.id)}/retry`, { method: 'POST', headers });
    const events = (await traceOf('parked-one')).rows.flatMap(({ timeline }) => timeline.map(({ event }) => event));
    expect(events.join('\n')).toMatch(/gave up: .*broken/);
    expect(events).toContain('retry by alice');
  });

  test('an unknown gid is an empty trace, since an app need not take part', async () => {
    const { status, body } = await get('/traces/nobody-knows-it');
    expect(status).toBe(200);
    expect(body).toMatchObject({ app: 'payment', gid: 'nobody-knows-it', rows: [], alerts: [], isComplete: true });
  });

  test('a transaction with more rows than a trace shows says that it is cut', async () => {
    await service.source.transaction(async (tx) => {
      for (let n = 0; n < 101; n++) await service.get(library.LocalMessages).append(tx, contract, { gid: 'many', n });
    });
    const { rows, isComplete } = await traceOf('many');
    expect(isComplete).toBe(false);
    expect(rows.filter(({ source }) => source === 'dtx_outbox')).toHaveLength(100);
  });

  test.each(["x' OR '1'='1", 'a b', 'ü', '<script>', '%', '../summary#'])('the gid %s is refused', async (gid) => {
    expect((await get(`/traces/${encodeURIComponent(gid)}`)).status).toBe(400);
  });

  test('the token is needed', async () => {
    for (const path of ['/traces/a-purchase', '/topology', '/history', '/transactions/x/payload'])
      expect((await get(path, {})).status).toBe(401);
  });
});

describe('GET /dtx/transactions/{id}/payload', () => {
  const text = '<img src=x onerror=alert(1)>';

  test('hides business data unless the app shows it, and then hides the values of secret fields', async () => {
    const payload = { gid: 'with-secrets', text, card_number: '4111', user: { passWord: 'p4ss', name: 'bob' } };
    const id = await send(payload);
    await settled('with-secrets');
    const refused = await get<Payload>(`/transactions/${id}/payload`);
    expect(refused.status).toBe(403);
    expect(JSON.stringify(refused.body)).not.toContain('bob');
    await start({ payloads: 'masked' });
    const { status, body } = await get<Payload>(`/transactions/${id}/payload`);
    expect(status).toBe(200);
    expect(JSON.parse(body.text!)).toEqual({ ...payload, card_number: '***', user: { passWord: '***', name: 'bob' } });
    expect(body.bytes).toBe(Buffer.byteLength(JSON.stringify(payload)));
    // The control: the row has the secret.
    const [row] = await sql<{ payload: string }>(sandbox, 'payment', 'SELECT payload FROM dtx_outbox WHERE id = ?', [
      id,
    ]);
    expect(row!.payload).toContain('p4ss');
  });

  test('shows a megabyte of emoji, and not a body above the limit', async () => {
    const emoji = '😀'.repeat(200_000);
    const [large, tooLarge] = [
      await send({ gid: 'large', emoji }),
      await send({ gid: 'too-large', emoji: emoji.repeat(3) }),
    ];
    expect(JSON.parse((await get<Payload>(`/transactions/${large}/payload`)).body.text!).emoji).toBe(emoji);
    const { body } = await get<Payload>(`/transactions/${tooLarge}/payload`);
    expect([body.text, body.bytes > 2_000_000]).toEqual([null, true]);
  });

  test('answers 404 for an unknown id and 400 for a wrong one', async () => {
    expect((await get('/transactions/unknown/payload')).status).toBe(404);
    expect((await get('/transactions/a%20b/payload')).status).toBe(400);
  });
});

interface Topology {
  queues: Array<{ queue: string; isAttached: boolean }>;
  connections: Array<{ isUp: boolean }>;
  options: Record<string, object>;
}

test('GET /dtx/topology shows the queues with their depth, the connections and options, and no secret', async () => {
  const isTraced = (one: { queue: string }) => one.queue.includes('payment.traced');
  const body = await until('the consumer is attached', async () => {
    const { body } = await get<Topology>('/topology');
    return body.queues.find(isTraced)?.isAttached && body;
  });
  expect(body).toMatchObject({
    app: 'payment',
    database: { isReady: true, problem: null },
    versions: {
      node: process.versions.node,
      library: expect.stringMatching(/^\d/),
      broker: expect.stringMatching(/^\d/),
    },
  });
  const queue = body.queues.find(isTraced);
  expect(queue).toMatchObject({ isAttached: true, problem: null, messages: 0, consumers: 1 });
  expect(body.connections.map(({ isUp }) => isUp)).toEqual([true, true]);
  expect(body.options.DtxModule).toMatchObject({ app: 'payment', leaseMs: 1_000 });
  expect(body.options.OpsModule).toMatchObject({ adminToken: '(hidden)' });
  const { password, username } = new URL(sandbox.rabbitmq);
  // The control: the URL has a password, and the options were given with it.
  expect(password.length).toBeGreaterThan(3);
  const all = JSON.stringify(body);
  for (const secret of [password, `${username}:`, TOKEN]) expect(all).not.toContain(secret);
});
