import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { DtxError, defineMessage } from '../core/index.js';
import { NameTaken } from '../local-message/index.js';
import { FakeLocalMessages } from './fake-local-messages.js';
import { FakeDataSource, fakeTransaction } from './fake-transaction.js';

const expired = defineMessage({
  name: 'fake.expired',
  version: 1,
  schema: z.object({ id: z.string() }),
  consumers: ['fake.expire'],
  gid: ({ id }) => id,
});
const tx = fakeTransaction();
const later = { dueInMs: 1_000, name: 'a' };

describe('a delayed message of FakeLocalMessages', () => {
  test('is scheduled and not sent until it is made due', async () => {
    const fake = new FakeLocalMessages();
    const id = await fake.append(tx, expired, { id: 'a' }, later);
    expect(fake.sent(expired)).toEqual([]);
    expect(fake.scheduled(expired)).toEqual([
      { id, name: 'a', payload: { id: 'a' }, dueInMs: 1_000, dueAt: undefined },
    ]);
    expectTypeOf(fake.scheduled(expired)[0]!.payload).toEqualTypeOf<{ id: string }>();
    expect(fake.makeDue(expired, { name: 'a' })).toBe(true);
    expect(fake.sent(expired)).toEqual([{ id: 'a' }]);
    expect(await fake.cancel(tx, expired, { id })).toBe('HANDLED');
    expect(await fake.reschedule(tx, expired, { id }, { dueInMs: 1 })).toBe(false);
  });

  test('is cancelled with the transaction of the cancel', async () => {
    const fake = new FakeLocalMessages();
    await fake.append(tx, expired, { id: 'a' }, later);
    const failed = new FakeDataSource().transaction(async (one) => {
      expect(await fake.cancel(one, expired, { name: 'a' })).toBe('CANCELLED');
      throw new Error('not paid');
    });
    await expect(failed).rejects.toThrow('not paid');
    expect(fake.scheduled(expired)).toHaveLength(1);
    expect(await fake.cancel(tx, expired, { name: 'a' })).toBe('CANCELLED');
    expect(await fake.cancel(tx, expired, { name: 'a' })).toBe('CANCELLED');
    expect(fake.scheduled(expired)).toEqual([]);
    expect(fake.makeDue(expired, { name: 'a' })).toBe(false);
    expect(await fake.cancel(tx, expired, { name: 'b' })).toBe('NOT_FOUND');
  });

  test('is moved with the transaction of the reschedule', async () => {
    const fake = new FakeLocalMessages();
    const at = new Date(86_400_000 * 365 * 60);
    await fake.append(tx, expired, { id: 'a' }, later);
    expect(await fake.reschedule(tx, expired, { name: 'a' }, { dueInMs: 5_000 })).toBe(true);
    expect(fake.scheduled(expired)).toMatchObject([{ dueInMs: 5_000 }]);
    await expect(fake.reschedule(tx, expired, { name: 'a' }, { dueAt: at })).rejects.toThrow(/delayMaxMs/);
  });

  test('has a name of its own while it is open', async () => {
    const fake = new FakeLocalMessages();
    await fake.append(tx, expired, { id: 'a' }, later);
    await expect(fake.append(tx, expired, { id: 'b' }, later)).rejects.toThrow(NameTaken);
    await fake.append(tx, expired, { id: 'c' }, { ...later, replace: true });
    expect(fake.scheduled(expired)).toMatchObject([{ payload: { id: 'c' } }]);
  });

  test.each([
    [{ dueInMs: 0.5 }, /whole number/],
    [{ dueInMs: 1, name: '' }, /invalid message name/],
    [{}, /either dueInMs/],
  ])('is refused with %j', async (delay, problem) => {
    const fake = new FakeLocalMessages();
    const append = fake.append(tx, expired, { id: 'a' }, delay as never);
    await expect(append).rejects.toThrow(DtxError);
    await expect(append).rejects.toThrow(problem);
  });
});
