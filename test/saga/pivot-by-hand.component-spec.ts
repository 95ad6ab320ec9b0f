/** An operator settles a saga that is parked at its pivot, while a late call of the pivot may still arrive. */
import { afterEach, expect, it } from 'vitest';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Script, useStage } from './stage.js';

const stage = useStage('saga_pivot_by_hand');
const BARRIER = 'dtx_saga_barrier';
const HIDDEN = 'hidden_barrier';

const fail = () => {
  throw new Error('no answer');
};
const inPayment = (query: string, values: unknown[] = []) => sql(stage.sandbox, 'payment', query, values);
let isHidden = false;
async function setHidden(isWanted: boolean): Promise<void> {
  if (isHidden === isWanted) return;
  await inPayment(isWanted ? `RENAME TABLE ${BARRIER} TO ${HIDDEN}` : `RENAME TABLE ${HIDDEN} TO ${BARRIER}`);
  isHidden = isWanted;
}
afterEach(() => setHidden(false));

/** A saga that is parked at its pivot. Neither the pivot nor its fence has an answer. */
async function parkedUnrun(): Promise<string> {
  await setHidden(true);
  const gid = await stage.begin();
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'PIVOT' });
  return gid;
}

/** The number of failed calls at the pivot. */
async function failures(gid: string): Promise<number> {
  const query = `SELECT attempts FROM dtx_saga_step WHERE gid = ? AND step = 'payment.pay'`;
  return (await sql<{ attempts: number }>(stage.sandbox, 'order', query, [gid]))[0]!.attempts;
}

it('a late call of a pivot that an operator has rejected never commits', async () => {
  const gid = await parkedUnrun();
  await setHidden(false);
  expect(await stage.order.resolve(gid, 'reject')).toBe('done');
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
  await stage.callLate(gid, 'pay');
  expect(await stage.effects('payment', gid)).toEqual([]);
});

it('nothing is undone while the app of a rejected pivot does not answer', async () => {
  const gid = await parkedUnrun();
  const before = await failures(gid);
  expect(await stage.order.resolve(gid, 'reject')).toBe('done');
  await until('its app has been asked', async () => (await failures(gid)) > before);
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'PIVOT', last_error: /fence of payment.pay/ });
  expect(await stage.order.sagas.outcome(gid)).toMatchObject({ status: 'PENDING', isCompensating: false });
  expect(await stage.order.cancel(gid)).toBe('TOO_LATE');
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);

  await setHidden(false);
  expect(await stage.order.retry(gid)).toBe('done');
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await stage.rowOf(gid)).toMatchObject({ reason: 'OPERATOR' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
});

it('a late call of a pivot that an operator has done by hand never commits a second one', async () => {
  const gid = await parkedUnrun();
  await setHidden(false);
  expect(await stage.order.resolve(gid, 'done')).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'FORWARD', reason: null });
  await stage.callLate(gid, 'pay');
  expect(await stage.effects('payment', gid)).toEqual([]);
  expect(await stage.effects('order', gid)).toEqual(['order.place', 'order.confirm']);
});

it('done while the app of the pivot does not answer parks the saga again, and done completes it later', async () => {
  const gid = await parkedUnrun();
  for (const attempt of [1, 2]) {
    const before = await failures(gid);
    expect(await stage.order.resolve(gid, 'done'), `attempt ${attempt}`).toBe('done');
    await until('its app has been asked', async () => (await failures(gid)) > before);
    await stage.untilIs(gid, 'PARKED');
    expect(await stage.rowOf(gid)).toMatchObject({ direction: 'FORWARD' });
    expect(await stage.effects('order', gid)).toEqual(['order.place']);
  }
  expect(await stage.order.resolve(gid, 'reject')).toBe('not-possible');
  await setHidden(false);
  expect(await stage.order.resolve(gid, 'done')).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
});

/** The pivot has committed, and its answers are lost until `answers.isLost` is false. */
async function parkedUnseen(): Promise<{ gid: string; answers: { isLost: boolean } }> {
  const answers = { isLost: true };
  const script: Script = {
    pay: {
      done: () => {
        if (answers.isLost) fail();
      },
    },
  };
  const gid = await stage.begin(script);
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'PIVOT' });
  expect(await stage.effects('payment', gid)).toEqual(['payment.pay']);
  return { gid, answers };
}

it('a pivot that has committed unseen cannot be rejected, and a retry of the saga completes it', async () => {
  const { gid, answers } = await parkedUnseen();
  answers.isLost = false;
  expect(await stage.order.resolve(gid, 'reject')).toBe('done');
  const error =
    'cannot reject: pivot payment.pay has committed, nothing was undone; retry the saga, and it goes forward';
  await until('it is parked with the reason', async () => (await stage.rowOf(gid))?.last_error === error);
  expect(await stage.rowOf(gid)).toMatchObject({ state: 'PARKED', direction: 'FORWARD', reason: null });
  const alerts = await stage.alertsOf(gid);
  expect(alerts.at(-1)).toMatchObject({ alert_error: error, closed_at: null });
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
  expect(await stage.order.resolve(gid, 'reject')).toBe('not-possible');
  expect(await stage.order.retry(gid)).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
  expect(await stage.effects('payment', gid)).toEqual(['payment.pay']);
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
});

it('a rejected pivot that has committed is not undone because the arguments of its @Done do not fit any more', async () => {
  const { gid, answers } = await parkedUnseen();
  answers.isLost = false;
  const setArgs = (args: string) => inPayment(`UPDATE ${BARRIER} SET args = ? WHERE gid = ?`, [args, gid]);
  await setArgs('{"sku":1}');
  const before = await failures(gid);
  expect(await stage.order.resolve(gid, 'reject')).toBe('done');
  await until('its app has been asked', async () => (await failures(gid)) > before);
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'PIVOT' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
  await setArgs(JSON.stringify({ sku: 'book', lot: `lot of ${gid}` }));
  expect(await stage.order.resolve(gid, 'done')).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
});

it('the operator decides on a pivot that has committed in part, since its app refuses each later call', async () => {
  const { gid } = await parkedUnseen();
  await inPayment(`UPDATE ${BARRIER} SET op = 'broken' WHERE gid = ?`, [gid]);
  expect(await stage.order.resolve(gid, 'reject')).toBe('done');
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await stage.callLate(gid, 'pay')).toMatchObject({ verdict: 'illegal' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
});
