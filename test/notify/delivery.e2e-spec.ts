import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { NotificationProbe } from '../fixtures/notification-probe.js';
import { type Behaviour, drip, inTurn, status, Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const CALLS_MAX = NOTIFY_TIMES.ladderMs.length + 1;
/** Far longer than the schedule and the file: a row that waits for it is seen in its state, not by a clock. */
const RETRY_AFTER_MAX_MS = 7_200_000;
const CALL_LIMIT_MS = 2_000;
const CONCURRENCY_MAX = 8;
/** As late as a busy machine may look at a row. */
const SLOW_MINUTES = 10;
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let queue: NotificationProbe;
let target: Target;
let payment: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_delivery');
  const limits = { retryAfterMaxMs: RETRY_AFTER_MAX_MS, callTimeoutMs: CALL_LIMIT_MS, concurrencyMax: CONCURRENCY_MAX };
  const notify = { ...NOTIFY_TIMES, ...limits };
  const env = { DTX_NOTIFY_SECRET: `${NOTIFY_SECRET} the-secret-before`, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  shop = new Stack(sandbox, { env, options: { core: { scanIntervalMs: 50 }, notify } });
  await shop.start(['payment']);
  probe = await QueueProbe.open(sandbox);
  queue = new NotificationProbe(sandbox, probe);
  target = await Target.start();
  payment = new Operator(shop, 'payment');
});

afterAll(async () => {
  await shop?.stop();
  await probe?.close();
  await target?.close();
});

/** Minutes until an event's next call, by the database's clock. */
const minutesLeft = async (id: string) => {
  const query =
    'SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(3), next_attempt_at) AS n FROM dtx_notification WHERE id = ?';
  return Number((await sql<{ n: number }>(sandbox, 'payment', query, [id]))[0]!.n);
};

describe('a target that answers 2xx', () => {
  const endless = Buffer.alloc(1024 * 1024);
  let sentMegabytes = 0;
  test.each<[string, Behaviour]>([
    ['200', status(200)],
    ['201', status(201)],
    ['204', status(204)],
    ['299', status(299)],
    ['200 and a body that never ends', (response) => drip(response, () => response.write('.'))],
    [
      '200 and 100 MB',
      (response) => {
        response.writeHead(200, { 'content-length': String(100 * endless.length) });
        const more = () => {
          while (sentMegabytes < 100 && !response.destroyed) {
            sentMegabytes += 1;
            if (!response.write(endless)) return response.once('drain', more);
          }
        };
        more();
      },
    ],
    ['200 and half of its body', (response) => response.writeHead(200, { 'content-length': '10' }).end('half')],
  ])('a target that answers %s is called once', async (name, behaviour) => {
    const id = await queue.tell(target.behave(`/${encodeURIComponent(name)}`, behaviour));
    expect(await queue.untilState(id, 'DELIVERED')).toMatchObject({ attempts: 1, last_error: null });
    await queue.tell(target.url('/again'), { id }); // a duplicate of the event, whatever it says
    const behind = await queue.tell(target.url('/behind'));
    await queue.untilState(behind, 'DELIVERED');
    expect(target.of(id)).toHaveLength(1);
  });

  test('a call reads only a part of a long body', () => {
    expect(sentMegabytes).toBeGreaterThan(0);
    expect(sentMegabytes).toBeLessThan(50);
  });
});

describe('a target that does not take it', () => {
  const elsewhere = () => target.calls.filter(({ path }) => path === '/elsewhere');
  const inTime = new RegExp(`no answer within ${CALL_LIMIT_MS} ms`);
  // At once, since the silent ones take their time.
  test.concurrent.each<[string, Behaviour, RegExp]>([
    ['301', (response) => status(301, { location: target.url('/elsewhere') })(response, {} as never), /answered 301/],
    ['307', (response) => status(307, { location: '/elsewhere' })(response, {} as never), /answered 307/],
    ['400', status(400), /answered 400/],
    ['404', status(404), /answered 404/],
    ['500', status(500), /answered 500/],
    ['a closed connection', (response) => response.destroy(), /hang up|ECONNRESET|closed/],
    ['nothing', () => {}, inTime],
    ['a status line that never ends', (response) => drip(response, () => response.socket?.write('H')), /\w/],
    [
      'headers that never end',
      (response) => {
        response.socket!.write('HTTP/1.1 200 OK\r\n');
        drip(response, () => response.socket?.write('x: y\r\n'));
      },
      inTime,
    ],
    [
      '101 and a protocol of its own',
      (response) =>
        response.socket!.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      /answered 101/,
    ],
    [
      'headers without a measure',
      (response) => response.socket!.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
      /verflow/,
    ],
    ['no HTTP', (response) => response.socket!.end('SSH-2.0-OpenSSH\r\n'), /[Pp]arse|expected/],
  ])('an event is PARKED with one alert after its calls if the target answers %s', async (name, behaviour, why) => {
    const id = await queue.tell(target.behave(`/${encodeURIComponent(name)}`, behaviour));
    const parked = await queue.untilState(id, 'PARKED');
    expect(parked).toMatchObject({ attempts: CALLS_MAX, last_error: expect.stringMatching(why) });
    // A kept connection that ends at once is tried anew within the same attempt, at each attempt that finds one kept.
    const calls = target.of(id).length;
    expect(calls).toBeGreaterThanOrEqual(CALLS_MAX);
    expect(calls).toBeLessThanOrEqual(name === 'a closed connection' ? 2 * CALLS_MAX : CALLS_MAX);
    expect(await payment.alertsOf(id)).toEqual([expect.objectContaining({ closedAt: null, gid: id })]);
    expect(elsewhere()).toEqual([]);
  });

  test('every call carries the same id and body, and a signature of its own by each secret', async () => {
    const id = await queue.tell(target.behave('/signed', inTurn(status(500), status(500), status(204))));
    expect(await queue.untilState(id, 'DELIVERED')).toMatchObject({ attempts: 3 });
    const calls = target.of(id);
    expect(new Set(calls.map(({ body }) => body.toString())).size).toBe(1);
    for (const { headers } of calls) expect(headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);
  });

  test('a target that answers 410 is called once', async () => {
    const id = await queue.tell(target.behave('/gone', status(410)));
    expect(await queue.untilState(id, 'PARKED')).toMatchObject({ last_error: expect.stringMatching(/answered 410/) });
    expect(target.of(id)).toHaveLength(1);
  });

  test.each([
    ['429', '3600', 60],
    ['503', '3600', 60],
    ['429', '1000000', 120],
    ['429', 'a date', 60],
  ])(
    'a target that answers %s with Retry-After %s is not called before, within bounds',
    async (code, after, minutes) => {
      const later: Behaviour = (response, about) => {
        const header = after === 'a date' ? new Date(Date.now() + 3_600_000).toUTCString() : after;
        status(Number(code), { 'retry-after': header })(response, about);
      };
      const id = await queue.tell(target.behave(`/${code}-${after.length}`, inTurn(later, status(204))));
      await until('the answer is noted', async () => (await queue.row(id))?.attempts === 1);
      const left = await minutesLeft(id);
      expect(left).toBeLessThanOrEqual(minutes);
      expect(left).toBeGreaterThan(minutes - SLOW_MINUTES);
      expect(target.of(id)).toHaveLength(1);
      expect((await payment.retry(id)).status).toBe(200);
      await queue.untilState(id, 'DELIVERED');
    },
  );

  test('a target with a malformed Retry-After is called by the schedule', async () => {
    const nonsense = status(429, { 'retry-after': 'nonsense' });
    const id = await queue.tell(target.behave('/429-nonsense', inTurn(nonsense, status(204))));
    expect(await queue.untilState(id, 'DELIVERED')).toMatchObject({ attempts: 2 });
  });
});

test('a hanging target does not delay the calls of another target', async () => {
  const other = await Target.start();
  try {
    const hanging = await Promise.all(Array.from({ length: 20 }, () => queue.tell(target.behave('/hangs', () => {}))));
    await until('the first hang', () => target.calls.some(({ path }) => path === '/hangs'));
    const id = await queue.tell(other.url('/quick'));
    await queue.untilState(id, 'DELIVERED');
    // Without shares, hanging calls would take all places first.
    expect(target.calls.filter(({ path }) => path === '/hangs').length).toBeLessThan(CONCURRENCY_MAX);
    target.behave('/hangs', status(204));
    for (const one of hanging) await queue.untilState(one, 'DELIVERED');
  } finally {
    await other.close();
  }
});

describe('a parked event', () => {
  test('a parked event is delivered by an operator’s retry once its target works again', async () => {
    const id = await queue.tell(target.behave('/down', status(500)));
    await queue.untilState(id, 'PARKED');
    target.behave('/down', status(204));
    expect((await payment.retry(id)).status).toBe(200);
    await queue.untilState(id, 'DELIVERED');
    expect(await payment.closedAlertsOf(id)).toHaveLength(1);
    expectProblem(await payment.retry(id), 409);
  });

  test('an event that is retried during its last call is called again and never parked', async () => {
    const bad = Array.from({ length: CALLS_MAX - 1 }, () => status(500));
    const url = target.behave(
      '/hangs-last',
      inTurn(...bad, () => {}, status(204)),
    );
    // As many as the key has places: the retried one cannot be begun before its own call has ended.
    const ids = await Promise.all(Array.from({ length: 4 }, () => queue.tell(url)));
    await until('the last calls hang', () => ids.every((id) => target.of(id).length === CALLS_MAX));
    const [retried, ...others] = ids as [string, ...string[]];
    expect((await payment.retry(retried)).status).toBe(200);
    expect(await queue.untilState(retried, 'DELIVERED')).toMatchObject({ attempts: 1 });
    expect(await payment.alertsOf(retried)).toEqual([]);
    for (const id of others) await queue.untilState(id, 'PARKED');
  });

  test('an operator can close a parked event and cannot reject it', async () => {
    const id = await queue.tell(target.behave('/closed', status(410)));
    await queue.untilState(id, 'PARKED');
    expectProblem(await payment.resolve(id, 'reject'), 409);
    expect((await payment.resolve(id, 'done')).body.state).toBe('CLOSED');
  });

  test('an unreadable message is PARKED with one alert, however often it arrives', async () => {
    for (const _ of [1, 2]) await probe.publish('dtx.payment.notify.v1', 'nonsense', { type: 'dtx.notification.v1' });
    const found = await until('it is parked', async () => {
      const parked = (await payment.parked()).filter(({ id }) => id.startsWith('unreadable.'));
      return parked.length > 0 && (await probe.waiting('dtx.payment.notify.v1')) === 0 && parked;
    });
    expect(found).toHaveLength(1);
    expect(await payment.alertsOf(found[0]!.id)).toHaveLength(1);
  });

  test('no other event is left, and every invariant holds', async () => {
    await payment.closeAll();
    const report = await auditOf(sandbox);
    expect(report.checks.flatMap((check: { violations: string[] }) => check.violations)).toEqual([]);
    expect(report.parked).toEqual([]);
  });
});
