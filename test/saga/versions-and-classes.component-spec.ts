import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import type { Conditions } from '../../libs/dtx/src/core/dependency-health-registry.js';
import { built } from '../fixtures/built-library.js';
import { sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import { SagaApp, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_versions');
const WAIT_MS = 60_000;
const none = z.object({});
const step = (name: string) => saga.defineStep({ name, version: 1, args: none });
const [first, second, third] = [step('order.first'), step('inventory.second'), step('order.third')];
const made = () => ({});
type Kinds = Parameters<Parameters<typeof saga.defineSaga>[0]['steps']>[0];
const sagaOf = (version: number, steps: (kinds: Kinds) => ReturnType<Parameters<typeof saga.defineSaga>[0]['steps']>) =>
  saga.defineSaga({ name: 'order.flow', version, input: none, deadlineMs: 60_000, steps });
const v1 = sagaOf(1, ({ compensable }) => [compensable(first, made), compensable(second, made)]);
const v2 = sagaOf(2, ({ compensable }) => [
  compensable(first, made),
  compensable(third, made),
  compensable(second, made),
]);
const steps = [[first], [third]] as const;

const makeDue = (gid: string) =>
  sql(apps.sandbox, 'order', 'UPDATE dtx_saga SET next_attempt_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = ?', [
    gid,
  ]);

/** The alerts about sagas of a version that no instance has. */
const alertsOf = (version: number) =>
  sql<{ alert_error: string; closed_at: Date | null }>(
    apps.sandbox,
    'order',
    'SELECT alert_error, closed_at FROM dtx_alert WHERE subject_id = ?',
    [`absent:order.flow.v${version}`],
  );

it('a running saga goes on under its own version beside a new one, and waits with one alert where no instance has it', async () => {
  const old = await apps.start({ sagas: [v1], steps });
  await old.begin(v1, {}, 'old-1');
  await until('the first call had no app', async () => (await apps.rowOf('old-1'))?.state === 'RUNNING');
  await apps.stop(old);

  const newOnly = await apps.start({ sagas: [v2], steps, options: { absentMs: 2_000 } });
  await makeDue('old-1');
  const alerts = () => alertsOf(1);
  await until('an alert is raised', async () => (await alerts()).length > 0, { withinMs: WAIT_MS });
  expect((await alerts())[0]!.alert_error).toMatch(
    /no instance has saga order\.flow v1, and 1 wait for one; start an instance/,
  );

  await apps.start({ app: 'inventory', steps: [[second]] });
  await newOnly.begin(v2, {}, 'new-1');
  await apps.untilIs('new-1', 'COMPLETED');
  expect((await apps.rowOf('old-1'))?.state).toBe('RUNNING');
  await apps.start({ sagas: [v1, v2], steps });
  await apps.untilIs('old-1', 'COMPLETED');
  expect(await apps.effects('order', 'old-1')).toEqual(['order.first']);
  expect(await apps.effects('order', 'new-1')).toEqual(['order.first', 'order.third']);
  await until('the alert closes', async () => (await alerts())[0]!.closed_at !== null, { withinMs: WAIT_MS });
  expect(await alerts()).toHaveLength(1);
});

const before = sagaOf(7, ({ compensable }) => [compensable(first, made), compensable(second, made)]);
const changed = sagaOf(7, ({ compensable }) => [compensable(first, made), compensable(third, made)]);
const CHANGED = /saga order\.flow v7 has other steps than its 1 open sagas began with; give it a new version/;

it('a definition that changed under its version stops the start while a saga of it is open, and is taken once none is', async () => {
  const old = await apps.start({ sagas: [before], steps });
  await expect(old.begin(changed, {}, 'changed-0')).rejects.toThrow(/saga order\.flow v7 is not in SagaModule/);
  await old.begin(before, {}, 'changed-1');
  await apps.stop(old);
  await sql(apps.sandbox, 'order', `UPDATE dtx_saga SET next_attempt_at = '9999-01-01' WHERE id = 'changed-1'`);

  await expect(apps.start({ sagas: [changed], steps })).rejects.toThrow(CHANGED);
  const same = await apps.start({ sagas: [before], steps });
  await apps.stop(same);

  await sql(apps.sandbox, 'order', `DELETE FROM dtx_saga WHERE id = 'changed-1'`);
  const later = await apps.start({ sagas: [changed], steps });
  await later.begin(changed, {}, 'changed-3');
  await apps.untilIs('changed-3', 'COMPLETED');
});

it('an instance leaves a saga alone that began with other steps under the same version, and raises one alert', async () => {
  const began = sagaOf(8, ({ compensable }) => [compensable(first, made), compensable(second, made)]);
  const other = sagaOf(8, ({ compensable }) => [compensable(first, made), compensable(third, made)]);
  const old = await apps.start({ sagas: [began], steps });
  // No saga is open, so the new build starts beside the old one. The old one begins another saga.
  await apps.start({ sagas: [other], steps, options: { absentMs: 2_000 } });
  await old.begin(began, {}, 'other-1');
  await until('the first call had no app', async () => (await apps.rowOf('other-1'))?.state === 'RUNNING');
  await apps.stop(old);
  await makeDue('other-1');
  const alerts = () => alertsOf(8);
  await until('an alert is raised', async () => (await alerts()).length > 0, { withinMs: WAIT_MS });
  expect((await alerts())[0]!.alert_error).toMatch(
    /and 1 wait for one; they began with other steps; start an instance/,
  );
  expect(await apps.effects('order', 'other-1')).toEqual(['order.first']);

  await apps.start({ app: 'inventory', steps: [[second]] });
  await apps.start({ sagas: [began], steps });
  await apps.untilIs('other-1', 'COMPLETED');
  expect(await apps.effects('inventory', 'other-1')).toEqual(['inventory.second']);
  await until('the alert closes', async () => (await alerts())[0]!.closed_at !== null, { withinMs: WAIT_MS });
});

it('an app that starts without its database is not ready later, and runs no saga of a changed definition', async () => {
  const { sandbox } = apps;
  await sql(sandbox, 'order', `UPDATE dtx_saga_definition SET fingerprint = 'other' WHERE version = 7`);
  const old = await apps.start({ sagas: [v2], steps });
  await old.begin(v2, {}, 'unseen-1');
  await apps.stop(old);
  await sql(sandbox, 'order', `UPDATE dtx_saga SET version = 7, next_attempt_at = '9999-01-01' WHERE id = 'unseen-1'`);

  const proxy = await TcpProxy.start(sandbox.databases.order);
  onTestFinished(() => proxy.close());
  proxy.cut();
  const behind = { ...sandbox, databases: { ...sandbox.databases, order: proxy.url } };
  const app = await SagaApp.start(behind, { sagas: [changed], steps, onCreated: () => proxy.heal() });
  onTestFinished(() => app.close());
  const conditions = () => app.context.get<Conditions>(built('core/dependency-health-registry.js').Conditions).all;
  await until('the change is noticed', () => conditions().length > 0);
  expect(conditions()).toMatchObject([{ name: 'saga definitions', reason: CHANGED }]);
  await expect(app.begin(changed, {}, 'changed-2')).rejects.toThrow(CHANGED);
});

it.each([
  [
    'a compensable step without Undo',
    [[first, { undo: null }]] as const,
    v1,
    /order\.first v1 of saga order\.flow v1: it is compensable and its class has no method with @Undo; add one/,
  ],
  [
    'a step of this app without a class',
    [] as const,
    v1,
    /saga step order\.first v1 has no @SagaStep class among the providers; add one/,
  ],
  [
    'a pivot with Undo',
    [[first]] as const,
    sagaOf(3, ({ pivot }) => [pivot(first, made)]),
    /it is pivot and its class has a method with @Undo, which would never run; remove it/,
  ],
  [
    'a class for a step of another app',
    [[second]] as const,
    v1,
    /saga step inventory\.second v1 \(Made\) belongs to another app than order/,
  ],
])('the start is refused for %s', async (_, given, definition, error) => {
  await expect(apps.start({ sagas: [definition], steps: given })).rejects.toThrow(error);
});

it('the start is refused for a saga that may outlast the memory of its steps, and for one of another app', async () => {
  const options = { retentionMs: 60_000 };
  await expect(apps.start({ sagas: [v1], steps, options })).rejects.toThrow(
    /saga order\.flow v1 may last 60000 ms with its waits, at most 52500 ms fit saga\.retentionMs \(60000\); raise retentionMs/,
  );
  await expect(apps.start({ app: 'payment', sagas: [v1] })).rejects.toThrow(
    /saga order\.flow belongs to another app than payment/,
  );
  await expect(apps.start({ sagas: [v1, v1], steps })).rejects.toThrow(/saga order\.flow v1 is in SagaModule twice/);
});

it('a Do of a compensable step is refused where its class has no Undo, before it has an effect', async () => {
  const remote = saga.defineSaga({
    name: 'order.remote',
    version: 1,
    input: none,
    deadlineMs: 60_000,
    steps: ({ compensable }) => [compensable(second, made)],
  });
  await apps.start({ app: 'inventory', steps: [[second, { undo: null }]] });
  const app = await apps.start({ sagas: [remote] });
  await app.begin(remote, {}, 'no-undo-1');
  await until('an alert names the class', async () => {
    const rows = await sql<{ alert_error: string }>(apps.sandbox, 'inventory', 'SELECT alert_error FROM dtx_alert');
    return rows.some(({ alert_error }) => /its class has no method with @Undo/.test(alert_error));
  });
  expect(await apps.effects('inventory', 'no-undo-1')).toEqual([]);
});
