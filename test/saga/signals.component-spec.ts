import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { library, type SagaApp, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_signals');
const WAIT_MS = 60_000;
const none = z.object({});
const request = saga.defineStep({ name: 'order.request', version: 1, args: none });
const ship = saga.defineStep({ name: 'order.ship', version: 1, args: z.object({ by: z.string() }) });
const approval = saga.defineSignal({ name: 'approval', payload: z.object({ by: z.string(), isGiven: z.boolean() }) });
const loan = saga.defineSaga({
  name: 'order.loan',
  version: 1,
  input: none,
  deadlineMs: 60_000,
  steps: ({ compensable, pivot, waitFor }) => [
    compensable(request, () => ({})),
    waitFor(approval, { withinMs: 86_400_000, refusal: ({ isGiven }) => (isGiven ? null : 'NOT_APPROVED') }),
    pivot(ship, (s) => ({ by: s.signal(approval).by })),
  ],
});
const given = { by: 'ann', isGiven: true };

const start = (more: ReturnType<typeof saga.defineSaga>[] = []) =>
  apps.start({
    sagas: [loan, ...more],
    steps: [
      [request],
      [
        ship,
        {
          undo: null,
          do: (tx, { by }, { gid }) =>
            tx.query('INSERT INTO effect (gid, what) VALUES (?, ?)', [gid, `shipped for ${by}`]),
        },
      ],
    ],
  });
const signal = (app: SagaApp, gid: string, payload: typeof given = given, id = 'one') =>
  app.source.transaction((tx) => app.sagas.signal(tx, gid, approval, payload, { id }));
const untilWaiting = (app: SagaApp, gid: string) =>
  until(`${gid} waits`, async () => (await app.sagas.outcome(gid))?.isWaiting, { withinMs: WAIT_MS });
const effects = (gid: string) => apps.effects('order', gid);

async function waiting(app: SagaApp): Promise<string> {
  const gid = await app.begin(loan, {}, randomUUID());
  await untilWaiting(app, gid);
  return gid;
}

it('a saga waits for its signal, over a restart of its app, and takes it once', async () => {
  const first = await start();
  const gid = await waiting(first);
  await apps.stop(first);
  const second = await start();
  expect(await signal(second, gid)).toBe('KEPT');
  await apps.untilIs(gid, 'COMPLETED');
  expect(await signal(second, gid)).toBe('OVER');
  expect(await effects(gid)).toEqual(['order.request', 'shipped for ann']);
});

it('a signal that comes before the wait is kept, its repeat is one, and a later one is not taken', async () => {
  const app = await start();
  const gid = randomUUID();
  const answers = await app.source.transaction(async (tx) => {
    await app.sagas.start(tx, loan, {}, { gid });
    const send = (by: string, id: string) => app.sagas.signal(tx, gid, approval, { by, isGiven: true }, { id });
    return [await send('ann', 'a'), await send('ann', 'a'), await send('bob', 'b')];
  });
  expect(answers).toEqual(['KEPT', 'REPEATED', 'KEPT']);
  await apps.untilIs(gid, 'COMPLETED');
  expect(await effects(gid)).toEqual(['order.request', 'shipped for ann']);
  const rows = await sql<{ signal_id: string; taken: number }>(
    apps.sandbox,
    'order',
    'SELECT signal_id, taken_at IS NOT NULL AS taken FROM dtx_saga_signal WHERE gid = ? ORDER BY signal_id',
    [gid],
  );
  expect(rows).toEqual([
    { signal_id: 'a', taken: 1 },
    { signal_id: 'b', taken: 0 },
  ]);
});

it('a refused payload, a passed time limit and a cancel each undo the steps before the wait', async () => {
  const app = await start();
  const [refused, late, cancelled] = [await waiting(app), await waiting(app), await waiting(app)];
  await signal(app, refused, { by: 'ann', isGiven: false });
  await sql(
    apps.sandbox,
    'order',
    'UPDATE dtx_saga SET waiting_since = UTC_TIMESTAMP(3) - INTERVAL 2 DAY, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?',
    [late],
  );
  expect(await app.cancel(cancelled)).toBe('CANCELLING');
  expect(await signal(app, cancelled)).toBe('OVER');
  for (const [gid, reason] of [
    [refused, 'NOT_APPROVED'],
    [late, 'TIMEOUT'],
    [cancelled, 'CUSTOMER'],
  ] as const) {
    await apps.untilIs(gid, 'COMPENSATED');
    expect(await apps.rowOf(gid)).toMatchObject({ reason });
    expect(await effects(gid)).toEqual(['order.request', 'undo order.request']);
  }
});

it('a refusal that throws is judged again, and a second signal is too late for a wait that has its own', async () => {
  let calls = 0;
  const doubtful = saga.defineSaga({
    name: 'order.doubt',
    version: 1,
    input: none,
    deadlineMs: 60_000,
    steps: ({ compensable, pivot, waitFor }) => [
      compensable(request, () => ({})),
      waitFor(approval, {
        withinMs: 86_400_000,
        refusal: () => {
          if (++calls === 1) throw new Error('the list of approvers is missing');
          return 'NOT_APPROVED';
        },
      }),
      pivot(ship, (s) => ({ by: s.signal(approval).by })),
    ],
  });
  const app = await start([doubtful]);
  const gid = await app.begin(doubtful, {}, randomUUID());
  await untilWaiting(app, gid);
  await signal(app, gid);
  await until('it is judged', () => calls > 0);
  expect(await signal(app, gid, given, 'two')).toBe('OVER');
  expect(await signal(app, gid)).toMatch(/REPEATED|OVER/);
  await apps.untilIs(gid, 'COMPENSATED');
  expect(calls).toBe(2);
  expect(await effects(gid)).toEqual(['order.request', 'undo order.request']);
});

it('a wait does not use up the time of the steps after it', async () => {
  const app = await start();
  const gid = await waiting(app);
  const day = 'INTERVAL 20 HOUR';
  await sql(
    apps.sandbox,
    'order',
    `UPDATE dtx_saga SET waiting_since = waiting_since - ${day}, deadline = deadline - ${day} WHERE id = ?`,
    [gid],
  );
  await signal(app, gid);
  await apps.untilIs(gid, 'COMPLETED');
});

it('a signal is refused for an unknown saga, and for a payload that does not fit', async () => {
  const app = await start();
  await expect(signal(app, 'unknown')).rejects.toThrow(
    /cannot signal saga unknown: this app has no saga with this gid/,
  );
  await expect(signal(app, 'unknown', { by: 1 } as never)).rejects.toThrow(
    /payload does not fit saga signal approval: by/,
  );
  const { manager } = app.source;
  await expect(app.sagas.signal(manager, 'unknown', approval, given, { id: 'x' })).rejects.toThrow(
    /Sagas\.signal needs the EntityManager/,
  );
});

it('a signal that the saga does not wait for is refused, and so are malformed ids', async () => {
  const app = await start();
  const gid = await waiting(app);
  const other = saga.defineSignal({ name: 'payment', payload: none });
  const send = (signal: typeof other, to: string, id: string) =>
    app.source.transaction((tx) => app.sagas.signal(tx, to, signal, {}, { id }));
  await expect(send(other, gid, 'x')).rejects.toThrow(
    `cannot signal saga ${gid}: saga order.loan v1 has no waitFor of signal payment; correct the signal or the gid`,
  );
  await expect(send(other, 'a b', 'x')).rejects.toThrow(/gid/);
  await expect(signal(app, gid, given, 'a b')).rejects.toThrow(library.DtxError);
  expect(await signal(app, gid)).toBe('KEPT');
  await apps.untilIs(gid, 'COMPLETED');
});

it('a signal whose transaction rolls back is not there', async () => {
  const app = await start();
  const gid = await waiting(app);
  const send = app.source.transaction(async (tx) => {
    await app.sagas.signal(tx, gid, approval, given, { id: 'x' });
    throw new Error('no');
  });
  await expect(send).rejects.toThrow('no');
  expect(await signal(app, gid, given, 'x')).toBe('KEPT');
  await apps.untilIs(gid, 'COMPLETED');
});
