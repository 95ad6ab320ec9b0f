import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { Rejected } from '../core/errors/errors.js';
import { Do, defineSaga, defineSignal, defineStep, SagaStep, Undo } from '../saga/index.js';
import { FakeSagas } from './fake-sagas.js';
import { fakeTransaction } from './fake-transaction.js';

const args = z.object({ sku: z.string() });
const take = defineStep({ name: 'inventory.take', version: 1, args, result: z.object({ lot: z.string() }) });
const pay = defineStep({ name: 'payment.pay', version: 1, args: z.object({ lot: z.string() }) });
const approval = defineSignal({ name: 'approval', payload: z.object({ isGiven: z.boolean() }) });
const buy = defineSaga({
  name: 'order.buy',
  version: 1,
  input: args,
  deadlineMs: 1_000,
  steps: ({ compensable, pivot, waitFor }) => [
    compensable(take, (s) => s.input),
    waitFor(approval, { withinMs: 1_000, refusal: ({ isGiven }) => (isGiven ? null : 'NOT_APPROVED') }),
    pivot(pay, (s) => ({ lot: s.result(take).lot })),
  ],
});

const calls: unknown[] = [];

@SagaStep(take)
class Take {
  @Do(take) take(_tx: unknown, { sku }: { sku: string }) {
    calls.push(`take ${sku}`);
    return { lot: 'L1' };
  }
  @Undo(take) putBack(_tx: unknown, _args: unknown, step: { result: { lot: string }; reason: string | undefined }) {
    calls.push(`put back ${step.result.lot} for ${step.reason}`);
  }
}

async function started() {
  calls.length = 0;
  const sagas = new FakeSagas().step(new Take()).stub(pay, { do: ({ lot }) => void calls.push(`pay ${lot}`) });
  const tx = fakeTransaction();
  const gid = await sagas.start(tx, buy, { sku: 'book' });
  return { sagas, tx, gid };
}

it('the fake waits for a signal and goes on with the results before it', async () => {
  const { sagas, tx, gid } = await started();
  expect(await sagas.outcome(gid)).toMatchObject({ status: 'PENDING', isWaiting: true });
  expect(await sagas.signal(tx, gid, approval, { isGiven: true }, { id: 'a' })).toBe('KEPT');
  expect(await sagas.signal(tx, gid, approval, { isGiven: false }, { id: 'a' })).toBe('REPEATED');
  expect(await sagas.outcome(gid)).toMatchObject({ status: 'COMPLETED' });
  expect(await sagas.cancel(tx, gid, 'X')).toBe('COMPLETED');
  expect(calls).toEqual(['take book', 'pay L1']);
});

it('the fake undoes the steps before a refused signal, a refusal of the pivot and a cancel', async () => {
  const refused = await started();
  await refused.sagas.signal(refused.tx, refused.gid, approval, { isGiven: false }, { id: 'a' });
  expect(await refused.sagas.outcome(refused.gid)).toMatchObject({ status: 'COMPENSATED', reason: 'NOT_APPROVED' });
  expect(calls).toEqual(['take book', 'put back L1 for NOT_APPROVED']);

  const noFunds = await started();
  noFunds.sagas.stub(pay, { do: () => Promise.reject(new Rejected('NO_FUNDS')) });
  await noFunds.sagas.signal(noFunds.tx, noFunds.gid, approval, { isGiven: true }, { id: 'a' });
  expect(await noFunds.sagas.outcome(noFunds.gid)).toMatchObject({ status: 'COMPENSATED', reason: 'NO_FUNDS' });

  const cancelled = await started();
  await cancelled.sagas.outcome(cancelled.gid);
  expect(await cancelled.sagas.cancel(cancelled.tx, cancelled.gid, 'CUSTOMER')).toBe('CANCELLING');
  expect(await cancelled.sagas.outcome(cancelled.gid)).toMatchObject({ status: 'COMPENSATED', reason: 'CUSTOMER' });
});

const place = defineStep({ name: 'order.place', version: 1, args });

@SagaStep(place)
class Place {
  @Do(place) async place(tx: EntityManager, { sku }: { sku: string }) {
    if (sku === 'none') throw new Rejected('NO_SKU');
    await tx.insert('orders', { sku });
  }
  @Undo(place) cancel() {
    calls.push('cancel the order');
  }
}

it('the first step of the own app runs in the transaction of the start, and its refusal is that of the start', async () => {
  calls.length = 0;
  const saga = defineSaga({
    name: 'order.place-and-pay',
    version: 1,
    input: args,
    deadlineMs: 1_000,
    steps: ({ compensable, pivot }) => [compensable(place, (s) => s.input), pivot(pay, () => ({ lot: 'L' }))],
  });
  const sagas = new FakeSagas().step(new Place()).stub(pay, { do: () => Promise.reject(new Rejected('NO_FUNDS')) });
  const inserted: unknown[] = [];
  const tx = fakeTransaction({ insert: async (_table: string, row: unknown) => void inserted.push(row) });
  await expect(sagas.start(tx, saga, { sku: 'none' }, { gid: 'refused' })).rejects.toThrow(new Rejected('NO_SKU'));
  expect(await sagas.outcome('refused')).toBeNull();
  const gid = await sagas.start(tx, saga, { sku: 'book' });
  expect(inserted).toEqual([{ sku: 'book' }]);
  expect(await sagas.outcome(gid)).toMatchObject({ status: 'COMPENSATED', reason: 'NO_FUNDS' });
  expect(calls).toEqual(['cancel the order']);
  expect(inserted).toEqual([{ sku: 'book' }]);
});

it('the fake refuses what the service refuses', async () => {
  const { sagas, tx, gid } = await started();
  await expect(sagas.start(tx, buy, { sku: 'book' }, { gid })).rejects.toThrow(/exists already/);
  await expect(sagas.start(tx, buy, { sku: 1 } as never)).rejects.toThrow(/input does not fit saga order\.buy v1: sku/);
  await expect(sagas.signal(tx, 'other', approval, { isGiven: true }, { id: 'a' })).rejects.toThrow(/was not started/);
  const bare = new FakeSagas();
  const bareGid = await bare.start(tx, buy, { sku: 'book' });
  await expect(bare.outcome(bareGid)).rejects.toThrow(/does not know step inventory\.take v1; register it/);
});
