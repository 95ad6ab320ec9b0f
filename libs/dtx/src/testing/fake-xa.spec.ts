import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { defineMessage, TransactionRequired } from '../core/index.js';
import { type DtxNotification, Notifications } from '../notify/index.js';
import { Xa, XaUnavailable } from '../xa/index.js';
import { fakeDtx } from './fake-dtx.js';
import { FakeLocalMessages } from './fake-local-messages.js';
import { FakeNotifications } from './fake-notifications.js';
import type { PublicOf } from './fake-options.js';
import { fakeTransaction } from './fake-transaction.js';
import { FakeXa } from './fake-xa.js';

const moved = defineMessage({
  name: 'fakes.moved',
  version: 1,
  schema: z.object({ id: z.string() }),
  consumers: ['fakes.moved'],
  gid: ({ id }) => id,
});

describe('FakeXa', () => {
  test('has the public methods of Xa', () => {
    expectTypeOf<Pick<FakeXa, keyof PublicOf<Xa>>>().toEqualTypeOf<PublicOf<Xa>>();
  });

  test('runs the work with a manager for each name, and then its hook', async () => {
    const rows: unknown[] = [];
    const payment = fakeTransaction({ insert: async (_: unknown, row: unknown) => rows.push(row) });
    const messages = new FakeLocalMessages();
    const hooked: string[] = [];
    const xa = new FakeXa({ app: 'order', managers: { payment } });
    xa.beforeDone(async (gid) => void hooked.push(gid));
    const work = async ({
      order,
      payment,
    }: Record<'order' | 'payment', typeof fakeTransaction extends () => infer T ? T : never>) => {
      await payment.insert('movement', { id: 1 });
      await messages.append(order, moved, { id: 'a' });
      return 'paid';
    };
    expect(await xa.run(['order', 'payment'], work, { gid: 'g1' })).toBe('paid');
    expect(rows).toEqual([{ id: 1 }]);
    expect(messages.sent(moved)).toEqual([{ id: 'a' }]);
    expect(xa.committed()).toEqual([{ gid: 'g1', names: ['order', 'payment'] }]);
    expect(hooked).toEqual(['g1']);
  });

  test('rolls back everything when the work throws', async () => {
    const messages = new FakeLocalMessages();
    const hooked: string[] = [];
    const xa = new FakeXa({ app: 'order' });
    xa.beforeDone(async (gid) => void hooked.push(gid));
    const failed = xa.run(['order', 'payment'], async ({ order }) => {
      await messages.append(order, moved, { id: 'a' });
      throw new Error('no money');
    });
    await expect(failed).rejects.toThrow('no money');
    expect(messages.sent(moved)).toEqual([]);
    expect(xa.committed()).toEqual([]);
    expect(hooked).toEqual([]);
  });

  test('ends the transactions of its managers', async () => {
    const kept = await new FakeXa().run(['payment'], async ({ payment }) => ({ payment }));
    await expect(new FakeLocalMessages().append(kept.payment, moved, { id: 'a' })).rejects.toThrow(TransactionRequired);
  });

  test('keeps the outcome when its hook fails', async () => {
    const xa = new FakeXa();
    xa.beforeDone(async () => {
      throw new Error('broker is away');
    });
    expect(await xa.run(['payment'], async () => 'paid')).toBe('paid');
    expect(() => xa.beforeDone(async () => {})).toThrow(/set twice/);
  });

  test('refuses names that Xa would refuse', async () => {
    const xa = new FakeXa({ app: 'order', branches: ['payment'] });
    const run = (...names: string[]) => xa.run(names, async () => {});
    await expect(run('stock')).rejects.toThrow('unknown XA database "stock"; configured: order, payment');
    await expect(run('order')).rejects.toThrow(/at least one branch database/);
    await expect(run('payment', 'payment')).rejects.toThrow(/each once/);
    await expect(xa.run(['payment'], async () => {}, { gid: 'a b' })).rejects.toThrow(/invalid gid/);
  });

  test('refuses a transaction after drain, which waits for the running ones', async () => {
    const xa = new FakeXa();
    let end = () => {};
    const running = xa.run(['payment'], () => new Promise<void>((resolve) => (end = resolve)));
    const drained = xa.drain().then(() => xa.committed().length);
    await expect(xa.run(['payment'], async () => {})).rejects.toThrow(XaUnavailable);
    end();
    await running;
    expect(await drained).toBe(1);
  });
});

describe('FakeNotifications', () => {
  const notification: DtxNotification = {
    id: 'n1',
    gid: 'g1',
    type: 'payment.captured',
    at: new Date(0),
    data: { id: 1 },
  };

  test('has the public methods of Notifications', () => {
    expectTypeOf<Pick<FakeNotifications, keyof PublicOf<Notifications>>>().toEqualTypeOf<PublicOf<Notifications>>();
  });

  test('keeps the published notifications', async () => {
    const fake = new FakeNotifications();
    await fake.publish(notification);
    expect(fake.published()).toEqual([notification]);
  });

  test('publishes nothing for a target that cannot be reached', async () => {
    const fake = new FakeNotifications({ isFor: (target) => target !== undefined });
    await fake.publish(notification);
    expect(fake.published()).toEqual([]);
  });

  test('refuses a notification that violates its schema, is not JSON, or is too large', async () => {
    const fake = new FakeNotifications({ payloadMaxBytes: 1_000 });
    await expect(fake.publish({ ...notification, id: 'a b' })).rejects.toThrow(
      /does not fit dtx\.notification\.v1: id/,
    );
    await expect(fake.publish({ ...notification, data: new Map() })).rejects.toThrow(/does not fit/);
    await expect(fake.publish({ ...notification, data: { x: 'x'.repeat(1_000) } })).rejects.toThrow(/payloadMaxBytes/);
    expect(fake.published()).toEqual([]);
  });
});

test('fakeDtx gives each service of the library its fake', () => {
  const dtx = fakeDtx();
  const tokens = dtx.providers.map((one) => (one as { provide: { name: string } }).provide.name);
  const schemes = ['LocalMessages', 'HalfMessages', 'ConfirmedMessages', 'Tcc', 'Sagas', 'Xa', 'Notifications'];
  expect(tokens).toEqual([...schemes, 'SharedTransactions']);
  const values = dtx.providers.map((one) => (one as { useValue: unknown }).useValue);
  expect(values).toEqual([
    dtx.localMessages,
    dtx.halfMessages,
    dtx.confirmedMessages,
    dtx.tcc,
    dtx.sagas,
    dtx.xa,
    dtx.notifications,
    dtx.sharedTransactions,
  ]);
});
