import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { effect, library, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_absence');
const input = z.object({});
const step = (name: string) => saga.defineStep({ name, version: 1, args: input });
const [reserve, send, bill] = ['order.reserve', 'inventory.send', 'payment.bill'].map(step);
const made = () => ({});
const WAIT_MS = 60_000;

type Steps = Parameters<typeof saga.defineSaga>[0]['steps'];
const sagaOf = (name: string, steps: Steps) =>
  saga.defineSaga({ name: `order.${name}`, version: 1, input, deadlineMs: 120_000, steps });

const delivery = sagaOf('delivery', ({ compensable }) => [compensable(reserve!, made), compensable(send!, made)]);
/** A call to an absent app takes its whole time limit. */
const QUICK = { attemptsMax: 2, callTimeoutMs: 300 };
const FEW_ATTEMPTS = { attemptsMax: QUICK.attemptsMax };

/** The queue of the step exists, and no app consumes it. */
async function withoutInventory(): Promise<void> {
  await apps.stop(await apps.start({ app: 'inventory', steps: [[send!]] }));
}

async function failuresOf(gid: string): Promise<number | undefined> {
  const query = 'SELECT attempts FROM dtx_saga_step WHERE gid = ? AND last_error IS NOT NULL';
  return (await sql<{ attempts: number }>(apps.sandbox, 'order', query, [gid]))[0]?.attempts;
}

it('an absent app costs no attempt, however often it is called', async () => {
  await withoutInventory();
  const order = await apps.start({ sagas: [delivery], steps: [[reserve!]], options: QUICK });
  const gid = await order.begin(delivery, {}, randomUUID());
  const dues = new Set<string>();
  await until('it was called more often than it may fail', async () => {
    const query = 'SELECT CAST(next_attempt_at AS CHAR) AS due FROM dtx_saga WHERE id = ?';
    const [row] = await sql<{ due: string }>(apps.sandbox, 'order', query, [gid]);
    return dues.add(row!.due).size > 3 * QUICK.attemptsMax;
  });
  expect(await failuresOf(gid)).toBe(0);
  await apps.start({ app: 'inventory', steps: [[send!]] });
  await apps.untilIs(gid, 'COMPLETED');
  // The control: a step that answers with an error uses its attempts up.
  const broken = await apps.start({ app: 'payment', steps: [[bill!, { do: () => Promise.reject(new Error('no')) }]] });
  const billing = sagaOf('billing', ({ compensable }) => [compensable(bill!, made)]);
  const biller = await apps.start({ sagas: [billing], options: FEW_ATTEMPTS });
  const failing = await biller.begin(billing, {}, randomUUID());
  await apps.untilIs(failing, 'COMPENSATED');
  expect(await failuresOf(failing)).toBe(QUICK.attemptsMax);
  await apps.stop(broken);
});

it('a saga with a call under way goes on after a restart of its app, without a new saga', async () => {
  await withoutInventory();
  const first = await apps.start({ sagas: [delivery], steps: [[reserve!]], options: QUICK });
  const gid = await first.begin(delivery, {}, randomUUID());
  await until('the call had no answer', async () => (await failuresOf(gid)) !== undefined);
  await apps.stop(first);
  await apps.start({ app: 'inventory', steps: [[send!]] });
  await apps.start({ sagas: [delivery], steps: [[reserve!]], options: QUICK });
  await apps.untilIs(gid, 'COMPLETED');
  expect(await apps.effects('inventory', gid)).toEqual(['inventory.send']);
});

it('a saga is not called compensated while an Undo is open, also after a restart of its app', async () => {
  let isBroken = true;
  const undo = () => {
    if (isBroken) throw new Error('no');
  };
  await apps.start({ app: 'inventory', steps: [[send!, { undo }]] });
  await apps.start({ app: 'payment', steps: [[bill!, { do: () => Promise.reject(new library.Rejected('NO')) }]] });
  const billed = sagaOf('billed', ({ compensable }) => [compensable(send!, made), compensable(bill!, made)]);
  const first = await apps.start({ sagas: [billed] });
  const gid = await first.begin(billed, {}, randomUUID());
  const undoAttempts = async (): Promise<number> => {
    const query = `SELECT undo_attempts AS n FROM dtx_saga_step WHERE gid = ? AND step = 'inventory.send'`;
    return Number((await sql<{ n: number }>(apps.sandbox, 'order', query, [gid]))[0]?.n ?? 0);
  };
  await until('the Undo has failed', async () => (await undoAttempts()) > 0);
  expect(await first.sagas.outcome(gid)).toMatchObject({ status: 'PENDING', isCompensating: true, reason: 'NO' });
  await apps.stop(first);
  const before = await undoAttempts();
  const second = await apps.start({ sagas: [billed] });
  await until('the Undo has failed again', async () => (await undoAttempts()) > before);
  expect(await second.sagas.outcome(gid)).toMatchObject({ status: 'PENDING', isCompensating: true });
  isBroken = false;
  expect(await second.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED', reason: 'NO' });
});

it('a saga whose arguments cannot be made is compensated, and others go on', async () => {
  const throwing = sagaOf('throwing', ({ compensable }) => [
    compensable(reserve!, made),
    compensable(send!, () => {
      throw new Error('no such price');
    }),
  ]);
  await apps.start({ app: 'inventory', steps: [[send!]] });
  const order = await apps.start({ sagas: [delivery, throwing], steps: [[reserve!]], options: FEW_ATTEMPTS });
  const broken = await order.begin(throwing, {}, randomUUID());
  const sound = await order.begin(delivery, {}, randomUUID());
  await apps.untilIs(sound, 'COMPLETED');
  expect(await order.sagas.outcome(broken, WAIT_MS)).toMatchObject({ status: 'COMPENSATED', reason: 'FAILED' });
  expect(await apps.effects('order', broken)).toEqual(['order.reserve', 'undo order.reserve']);
});

it('a cancel while the steps of a group run undoes each of them, also one that commits later', async () => {
  const both = sagaOf('both', ({ compensable }) => [[compensable(send!, made), compensable(bill!, made)]]);
  const isCancelled = async (gid: string) => (await apps.rowOf(gid))?.direction === 'COMPENSATING';
  let isRunning = false;
  await apps.start({
    app: 'inventory',
    steps: [
      [
        send!,
        {
          do: async (tx, _, { gid }) => {
            isRunning = true;
            await until('the saga is cancelled', () => isCancelled(gid));
            await effect(tx, gid, 'sent');
          },
        },
      ],
    ],
  });
  await apps.start({ app: 'payment', steps: [[bill!]] });
  const order = await apps.start({ sagas: [both] });
  const gid = await order.begin(both, {}, randomUUID());
  await until('both run', async () => isRunning && (await apps.effects('payment', gid)).length === 1);
  expect(await order.cancel(gid)).toBe('CANCELLING');
  await apps.untilIs(gid, 'COMPENSATED');
  expect(await apps.effects('inventory', gid)).toEqual(['sent', 'undo inventory.send']);
  expect(await apps.effects('payment', gid)).toEqual(['payment.bill', 'undo payment.bill']);
});

it('an alert of a saga whose gid begins like the subject of an absent version stays open', async () => {
  const order = await apps.start({ sagas: [delivery], steps: [[reserve!]], options: { ...QUICK, absentMs: 400 } });
  const alerts = order.context.get(library.Alerts);
  const incident = { scheme: 'saga', step: 'a step', lastError: 'no' };
  await alerts.tell({ ...incident, id: 'absent:users-own', gid: 'absent:users-own' }, 'OPEN');
  await alerts.tell({ ...incident, id: 'absent:order.gone.v1', gid: null, closesBy: 'itself' }, 'SILENT');
  const isOpen = async (gid: string) => (await apps.alertsOf(gid))[0]!.closed_at === null;
  await until('a check closes the one that closes by itself', async () => !(await isOpen('absent:order.gone.v1')));
  expect(await isOpen('absent:users-own')).toBe(true);
});
