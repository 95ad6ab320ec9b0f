import { afterAll, beforeAll, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

const EVENTS = 60;
const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
/** Nothing listens there, so each row stays. */
const TARGET = 'http://127.0.0.1:9/';

const library = libraryOf();
let sandbox: Sandbox;
let proxy: TcpProxy;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_batches', { audited: false });
  proxy = await TcpProxy.start(sandbox.databases.payment);
  const notify = library.NotifyModule.forService({ service: 'payment', secrets: [SECRET], allow: ['127.0.0.1:9'] });
  service = await LittleService.start({
    sandbox,
    library,
    url: proxy.url,
    core: { queues: 'classic' },
    imports: [notify],
  });
});

afterAll(async () => {
  await service?.close();
  await proxy?.close();
});

const publish = (id: string, gid = id) =>
  service
    .get(library.Notifications)
    .publish({ id, gid, type: 'payment.captured', at: new Date(), target: TARGET, data: { id } });
const rows = () =>
  sql<{ id: string; state: string }>(sandbox, 'payment', 'SELECT id, state FROM dtx_notification ORDER BY id');

test('events that arrive together are recorded once each by few statements, also beside duplicates', async () => {
  let inserts = 0;
  proxy.onBytes('to-server', (chunk) => {
    if (chunk.includes('INSERT INTO dtx_notification')) inserts++;
  });
  const ids = Array.from({ length: EVENTS }, (_, n) => `event-${String(n).padStart(2, '0')}`);
  await Promise.all(ids.map((id) => publish(id)));
  await until('every event is recorded', async () => (await rows()).length === EVENTS);
  expect(inserts).toBeLessThan(EVENTS / 2);

  // The duplicate fails the statement of its batch. The rows beside it, and the event under a taken id, are still kept.
  await Promise.all([
    publish('event-00'),
    publish('event-00', 'another'),
    ...['new-1', 'new-2'].map((id) => publish(id)),
  ]);
  await until('every event is recorded', async () => (await rows()).length === EVENTS + 3);
  const ofOthers = (await rows()).filter(({ id }) => !ids.includes(id));
  expect(ofOthers.map(({ id, state }) => [id.replace(/\..*/, ''), state])).toEqual([
    ['new-1', 'PENDING'],
    ['new-2', 'PENDING'],
    ['renamed', 'PARKED'],
  ]);
});
