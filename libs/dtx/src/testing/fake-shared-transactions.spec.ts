import { expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { SharedTransactions } from '../core/database/transactions-of-callers.js';
import { defineMessage, Rejected } from '../core/index.js';
import { fakeDtx } from './fake-dtx.js';
import type { PublicOf } from './fake-options.js';
import { FakeSharedTransactions } from './fake-shared-transactions.js';

const placed = defineMessage({
  name: 'fakes.placed',
  version: 1,
  schema: z.object({ id: z.string() }),
  consumers: ['fakes.placed'],
  gid: ({ id }) => id,
});

test('FakeSharedTransactions has the public methods of SharedTransactions', () => {
  type Fake = Pick<FakeSharedTransactions, keyof PublicOf<SharedTransactions>>;
  expectTypeOf<Fake>().toEqualTypeOf<PublicOf<SharedTransactions>>();
});

test('a call commits its messages, and one that throws takes its own back', async () => {
  const { sharedTransactions, localMessages } = fakeDtx();
  const place = (id: string, reason?: string) =>
    sharedTransactions.run('place an order', async (tx) => {
      await localMessages.append(tx, placed, { id });
      if (reason) throw new Rejected(reason);
      return id;
    });
  const ended = await Promise.allSettled([place('one'), place('two', 'SOLD_OUT'), place('three')]);
  expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(localMessages.sent(placed)).toEqual([{ id: 'one' }, { id: 'three' }]);
});

test('a wrong argument is named as by the service', async () => {
  const shared = new FakeSharedTransactions();
  const run = shared.run('place an order', undefined as never);
  await expect(run).rejects.toThrow("run('place an order', work) needs the work as a function");
});
