import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { EventStream } from '../fixtures/event-stream.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'watched');
const auth = { authorization: 'Bearer the admin token' };
const streams: EventStream[] = [];
let service: LittleService;
let url: string;

beforeAll(async () => {
  const sandbox = await freshSandbox('ops_events', { audited: false });
  const handle = (_tx: unknown, { text }: { text?: string }) => {
    if (text === 'fails') throw new Error('the shelf is broken');
  };
  const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
  const imports = [library.OpsModule.forRoot({ adminToken: 'the admin token' })];
  const core = { inbox: { attemptsMax: 1 } };
  service = await LittleService.start({ sandbox, library, controllers, imports, core });
  await service.app.listen(0, '127.0.0.1');
  url = `${await service.app.getUrl()}/dtx/events`;
});
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});
afterAll(() => service?.close());

async function listen(headers: Record<string, string> = {}): Promise<EventStream> {
  const stream = await EventStream.open(url, { ...auth, ...headers });
  streams.push(stream);
  return stream;
}

const send = (gid: string, text?: string) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid, text }));
const hasGid = (gid: string) => (one: { data: Record<string, unknown> }) =>
  (one.data.items as Array<{ gid: string }>).some((item) => item.gid === gid);
const lastId = (stream: EventStream) => stream.events.at(-1)!.id;

test('a change is an event with its scheme, id and gid, and the counts of all changes', async () => {
  const stream = await listen();
  expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  await stream.next('hello');
  const id = await send('seen');
  const { data } = await stream.next('changes', hasGid('seen'));
  expect(data.items).toContainEqual({ change: 'started', scheme: 'local-message', id, gid: 'seen' });
  expect(data.counts).toMatchObject({ 'local-message': { started: 1 } });
  await stream.next('changes', ({ data }) =>
    (data.items as Array<{ change: string; id: string }>).some((one) => one.change === 'settled' && one.id === id),
  );
});

test('a stream that is resumed by its last id gets the events in between, and one without an id does not', async () => {
  const first = await listen();
  await first.next('hello');
  await send('before');
  await first.next('changes', hasGid('before'));
  const id = lastId(first);
  first.close();
  await until('the stream has ended', () => first.isEnded);
  const meanwhile = await listen();
  await send('between');
  await meanwhile.next('changes', hasGid('between'));
  const other = await listen();
  await send('after');
  await other.next('changes', hasGid('after'));
  expect(other.events.some((one) => one.event === 'changes' && hasGid('between')(one))).toBe(false);
  const again = await listen({ 'last-event-id': id });
  await again.next('changes', hasGid('between'));
  expect(again.events.filter(({ event }) => event === 'hello')).toHaveLength(1);
  const ids = again.events.slice(1).map((one) => one.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).not.toContain(id);
});

test.each(['00000000-1', 'nonsense', 'deadbeef-999999999999999'])(
  'a stream that is resumed by the id %s of another process begins with reset',
  async (id) => {
    const stream = await listen({ 'last-event-id': id });
    await until('the first event', () => stream.events.length > 0);
    expect(stream.events[0]!.event).toBe('reset');
  },
);

test('a row that is parked is an event, and its alert is one when it opens and when it closes', async () => {
  const stream = await listen();
  await stream.next('hello');
  await until('the open alerts are known', () =>
    stream.events.some(({ event, data }) => event === 'alerts' || data.openAlerts === 0),
  );
  await send('parked', 'fails');
  await stream.next('changes', ({ data }) =>
    (data.items as Array<{ change: string; gid: string }>).some(
      (one) => one.change === 'parked' && one.gid === 'parked',
    ),
  );
  const { data } = await stream.next('alerts', ({ data }) => (data.opened as unknown[]).length > 0);
  const [alert] = data.opened as Array<{ id: string; subject: string; gid: string; lastError: string }>;
  expect(alert).toMatchObject({ gid: 'parked', lastError: expect.stringContaining('the shelf is broken') });
  const done = { outcome: 'done', note: 'by hand' };
  const resolve = `${url.replace('events', 'transactions')}/${encodeURIComponent(alert!.subject)}/resolve`;
  const headers = { ...auth, 'content-type': 'application/json' };
  expect((await fetch(resolve, { method: 'POST', headers, body: JSON.stringify(done) })).status).toBe(200);
  await stream.next('alerts', ({ data }) => (data.closed as string[]).includes(alert!.id));
});

test('a wrong token, no token and a wrong Last-Event-ID are refused before the stream begins', async () => {
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(url, { headers: { authorization: 'Bearer wrong' } })).status).toBe(401);
  expect((await fetch(url, { headers: { ...auth, 'last-event-id': 'x'.repeat(65) } })).status).toBe(400);
});

test('the number of streams is bounded, and a closed one makes room', async () => {
  const opened = await Promise.all(Array.from({ length: 100 }, () => listen()));
  expect(opened.map(({ response }) => response.status)).toEqual(Array(100).fill(200));
  expect((await listen()).response.status).toBe(503);
  opened[0]!.close();
  await until('there is room again', async () => (await listen()).response.status === 200, { everyMs: 200 });
});

test('the history counts the events of this process by minute', async () => {
  const read = async () => {
    const response = await fetch(url.replace('events', 'history'), { headers: auth });
    const { since, minutes } = (await response.json()) as History;
    const counted = minutes.flatMap(({ schemes }) => schemes['local-message'] ?? []);
    return { since, counted, started: counted.reduce((sum, { started }) => sum + started, 0) };
  };
  const before = await read();
  expect(Date.parse(before.since)).toBeLessThanOrEqual(Date.now());
  await send('counted');
  await send('counted');
  expect((await read()).started).toBe(before.started + 2);
  await until('a latency', async () => (await read()).counted.some(({ p95Ms }) => (p95Ms ?? 0) > 0));
});

interface History {
  since: string;
  minutes: Array<{ at: string; schemes: Record<string, { started: number; p95Ms: number | null }> }>;
}
