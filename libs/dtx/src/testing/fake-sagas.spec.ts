import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { Rejected } from '../core/errors/errors.js';
import { Do, Done, defineSaga, defineSignal, defineStep, SagaStep, Undo } from '../saga/index.js';
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

const book = defineStep({ name: 'hotel.book', version: 1, args, result: z.object({ until: z.coerce.date() }) });
const note = defineStep({ name: 'hotel.note', version: 1, args });
const end = defineStep({
  name: 'hotel.end',
  version: 1,
  args: z.object({ book: z.object({ until: z.coerce.date() }), note: z.unknown() }),
});
const until = new Date('2030-01-02T03:04:05.000Z');
const returned = { noted: until as unknown };

@SagaStep(book)
class Book {
  @Do(book) book() {
    return { until };
  }
  @Undo(book) cancel(_tx: unknown, _args: unknown, { result }: { result: { until: Date } }) {
    calls.push({ undone: result });
  }
  @Done(book) tell(_args: unknown, { result }: { result: { until: Date } }) {
    calls.push({ told: result });
  }
}

@SagaStep(note)
class Note {
  @Do(note) note() {
    return returned.noted;
  }
  @Undo(note) forget(_tx: unknown, _args: unknown, { result }: { result: unknown }) {
    calls.push({ forgotten: result });
  }
}

const stay = defineSaga({
  name: 'trip.stay',
  version: 1,
  input: args,
  deadlineMs: 1_000,
  steps: ({ compensable, pivot }) => [
    compensable(book, (s) => s.input),
    compensable(note, (s) => s.input),
    pivot(end, (s) => ({ book: s.result(book), note: s.result(note) ?? null })),
  ],
});

async function stayed(noted: unknown) {
  calls.length = 0;
  returned.noted = noted;
  const refuse = (read: object) => {
    calls.push({ read });
    throw new Rejected('FULL');
  };
  const sagas = new FakeSagas({ payloadMaxBytes: 1_000 }).step(new Book()).step(new Note()).stub(end, { do: refuse });
  return { sagas, gid: await sagas.start(fakeTransaction(), stay, { sku: 'room' }) };
}

it('later steps, Done and Undo get the result of a Do as it comes back from JSON', async () => {
  const { sagas, gid } = await stayed({ at: until, none: undefined });
  expect(await sagas.outcome(gid)).toMatchObject({ status: 'COMPENSATED', reason: 'FULL' });
  const noted = { at: until.toISOString() };
  expect(calls).toStrictEqual([
    { told: { until } },
    { read: { book: { until }, note: noted } },
    { forgotten: noted },
    { undone: { until } },
  ]);
});

it('a Do without a result has none in later steps and in Undo', async () => {
  const { sagas, gid } = await stayed(undefined);
  await sagas.outcome(gid);
  expect(calls.slice(1, 3)).toEqual([{ read: { book: { until }, note: null } }, { forgotten: undefined }]);
});

it.each([
  ['a bigint', { n: 1n }, /^result of Do does not fit saga step hotel\.note v1: n: a bigint is not JSON$/],
  ['a Map', new Map(), /^result of Do does not fit saga step hotel\.note v1: result: /],
  ['too many bytes', 'x'.repeat(1_000), /1002 bytes, at most 1000 are allowed \(payloadMaxBytes\)$/],
])('the fake refuses a result with %s, as the service does', async (_, noted, problem) => {
  const { sagas, gid } = await stayed(noted);
  await expect(sagas.outcome(gid)).rejects.toThrow(problem);
});

it('the fake refuses arguments that JSON would change', async () => {
  const tagged = defineStep({ name: 'order.tag', version: 1, args: z.object({ tags: z.set(z.string()) }) });
  const saga = defineSaga({
    name: 'order.tagging',
    version: 1,
    input: args,
    deadlineMs: 1_000,
    steps: ({ pivot }) => [pivot(tagged, () => ({ tags: new Set(['new']) }))],
  });
  const sagas = new FakeSagas().stub(tagged, { do: () => {} });
  const gid = await sagas.start(fakeTransaction(), saga, { sku: 'book' });
  await expect(sagas.outcome(gid)).rejects.toThrow(/arguments do not fit saga step order\.tag v1: tags/);
});

it('the fake refuses a result that does not fit the contract', async () => {
  const { sagas, gid } = await started();
  sagas.stub(take, { do: () => ({ lot: 1 }) as never });
  await expect(sagas.outcome(gid)).rejects.toThrow(
    /^result of Do does not fit saga step inventory\.take v1: lot: Invalid input/,
  );
});

it('the start refuses such a result of the step that runs in its transaction', async () => {
  @SagaStep(place)
  class Misplace {
    @Do(place) place() {
      return { id: 1n };
    }
    @Undo(place) cancel() {}
  }
  const saga = defineSaga({
    name: 'order.misplace',
    version: 1,
    input: args,
    deadlineMs: 1_000,
    steps: ({ compensable, pivot }) => [compensable(place, (s) => s.input), pivot(pay, () => ({ lot: 'L' }))],
  });
  const start = new FakeSagas().step(new Misplace()).start(fakeTransaction(), saga, { sku: 'book' });
  await expect(start).rejects.toThrow(
    /^result of Do does not fit saga step order\.place v1: id: a bigint is not JSON$/,
  );
});
