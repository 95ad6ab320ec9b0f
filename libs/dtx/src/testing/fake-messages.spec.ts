import { DataSource } from 'typeorm';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { ConfirmedMessages } from '../confirmed-publish/index.js';
import { DtxError, defineMessage, TransactionRequired } from '../core/index.js';
import type { HalfMessages } from '../half-message/index.js';
import type { LocalMessages } from '../local-message/index.js';
import { FakeLocalMessages } from './fake-local-messages.js';
import { FakeConfirmedMessages, FakeHalfMessages } from './fake-messages.js';
import type { PublicOf } from './fake-options.js';
import { FakeDataSource, fakeTransaction } from './fake-transaction.js';

const schema = z.object({ id: z.string(), at: z.coerce.date().optional(), extra: z.unknown().optional() });
const contractOf = (name: string, replicated: boolean) =>
  defineMessage({
    name,
    version: 1,
    schema,
    consumers: [`fake.${name.replace('fake.', '')}`],
    gid: ({ id }) => id,
    replicated,
  });
const opened = contractOf('fake.opened', false);
const closed = contractOf('fake.closed', false);
const shared = contractOf('fake.shared', true);

describe('the fakes have the public methods of the services', () => {
  test('LocalMessages', () => {
    expectTypeOf<Pick<FakeLocalMessages, keyof PublicOf<LocalMessages>>>().toEqualTypeOf<PublicOf<LocalMessages>>();
  });
  test('HalfMessages', () => {
    expectTypeOf<Pick<FakeHalfMessages, keyof PublicOf<HalfMessages>>>().toEqualTypeOf<PublicOf<HalfMessages>>();
  });
  test('ConfirmedMessages', () => {
    type Fake = Pick<FakeConfirmedMessages, keyof PublicOf<ConfirmedMessages>>;
    expectTypeOf<Fake>().toEqualTypeOf<PublicOf<ConfirmedMessages>>();
  });
});

/** One send of each fake, with a transaction of its own where the caller gives one. */
const senders = [
  { name: 'FakeLocalMessages', make: () => new FakeLocalMessages(), contract: opened, call: 'append' },
  { name: 'FakeConfirmedMessages', make: () => new FakeConfirmedMessages(), contract: shared, call: 'publish' },
  { name: 'FakeHalfMessages', make: () => new FakeHalfMessages(), contract: shared, call: 'send' },
] as const;
type Fake = FakeLocalMessages | FakeConfirmedMessages | FakeHalfMessages;
type Payload = z.output<typeof schema>;

function send(fake: Fake, contract: typeof opened, payload: Payload): Promise<unknown> {
  if (fake instanceof FakeHalfMessages) return fake.send(contract, payload, async () => {});
  if (fake instanceof FakeConfirmedMessages) return fake.publish(fakeTransaction(), contract, payload);
  return fake.append(fakeTransaction(), contract, payload);
}

describe.each(senders)('$name', ({ make, contract, call }) => {
  test('returns the messages of a contract as their consumers see them', async () => {
    const fake = make();
    const given = { id: 'a', at: new Date(0) };
    await send(fake, contract, given);
    given.id = 'changed';
    expect(fake.sent(contract)).toEqual([{ id: 'a', at: new Date(0) }]);
    expect(fake.sent(closed)).toEqual([]);
    expectTypeOf(fake.sent(contract)).toEqualTypeOf<Payload[]>();
    fake.clear();
    expect(fake.sent(contract)).toEqual([]);
  });

  test('refuses a payload that violates its contract', async () => {
    const fake = make();
    await expect(send(fake, contract, { id: 1 } as never)).rejects.toThrow(/payload does not fit fake\.\w+ v1: id/);
    expect(fake.sent(contract)).toEqual([]);
  });

  test('refuses a payload that JSON would change', async () => {
    await expect(send(make(), contract, { id: 'a', extra: new Map() })).rejects.toThrow(DtxError);
  });

  test('refuses a payload above payloadMaxBytes', async () => {
    const large = { id: 'a', extra: 'x'.repeat(256 * 1024) };
    await expect(send(make(), contract, large)).rejects.toThrow(/at most 262144 are allowed \(payloadMaxBytes\)/);
  });

  test('refuses a gid that a row could not hold', async () => {
    await expect(send(make(), contract, { id: 'a b' })).rejects.toThrow(/invalid gid/);
  });

  test('refuses a contract of the other kind', async () => {
    const other = contract === shared ? closed : shared;
    await expect(send(make(), other, { id: 'a' })).rejects.toThrow(/replicated/);
  });

  test('names the same method as the service', () => {
    expect(make()).toHaveProperty(call);
  });
});

describe.each([
  ['FakeLocalMessages', () => new FakeLocalMessages(), opened],
  ['FakeConfirmedMessages', () => new FakeConfirmedMessages(), shared],
] as const)('the transaction of %s', (_, make, contract) => {
  const sendIn = (fake: Fake, tx: never) =>
    fake instanceof FakeLocalMessages
      ? fake.append(tx, contract, { id: 'a' })
      : (fake as FakeConfirmedMessages).publish(tx, contract, { id: 'a' });

  test('must be open', async () => {
    const bare = new DataSource({ type: 'mysql' }).manager;
    await expect(sendIn(make(), bare as never)).rejects.toThrow(TransactionRequired);
    await expect(sendIn(make(), new FakeDataSource().manager as never)).rejects.toThrow(TransactionRequired);
    await expect(sendIn(make(), undefined as never)).rejects.toThrow(TransactionRequired);
  });

  test('is over after the callback of FakeDataSource.transaction', async () => {
    const kept = await new FakeDataSource().transaction(async (tx) => ({ tx }));
    await expect(sendIn(make(), kept.tx as never)).rejects.toThrow(TransactionRequired);
  });
});

describe('a rollback', () => {
  test('takes the messages of FakeLocalMessages back', async () => {
    const fake = new FakeLocalMessages();
    const source = new FakeDataSource();
    const failed = source.transaction(async (tx) => {
      await fake.append(tx, opened, { id: 'a' });
      throw new Error('no stock');
    });
    await expect(failed).rejects.toThrow('no stock');
    expect(fake.sent(opened)).toEqual([]);
    await source.transaction('READ COMMITTED', async (tx) => {
      await fake.append(tx, opened, { id: 'b' });
      expect(fake.sent(opened)).toEqual([]);
    });
    expect(fake.sent(opened)).toEqual([{ id: 'b' }]);
  });

  test('does not take back a message of FakeConfirmedMessages, which is published before the commit', async () => {
    const fake = new FakeConfirmedMessages();
    const failed = new FakeDataSource().transaction(async (tx) => {
      await fake.publish(tx, shared, { id: 'a' });
      throw new Error('no stock');
    });
    await expect(failed).rejects.toThrow('no stock');
    expect(fake.sent(shared)).toEqual([{ id: 'a' }]);
  });

  test('of the work sends no half message, and no local message of that work', async () => {
    const fake = new FakeHalfMessages();
    const local = new FakeLocalMessages();
    const work = async (tx: never) => {
      await local.append(tx, opened, { id: 'a' });
      throw new Error('no stock');
    };
    await expect(fake.send(shared, { id: 'a' }, work as never)).rejects.toThrow('no stock');
    expect(fake.sent(shared)).toEqual([]);
    expect(local.sent(opened)).toEqual([]);
    expect(await fake.committed(shared, 'a')).toBeNull();
  });
});

describe('FakeHalfMessages', () => {
  test('returns the result of the work, and the first payload of a gid', async () => {
    const fake = new FakeHalfMessages();
    expect(await fake.send(shared, { id: 'a', extra: 1 }, async () => 'sold')).toBe('sold');
    await fake.send(shared, { id: 'a', extra: 2 }, async () => {});
    expect(await fake.committed(shared, 'a')).toEqual({ id: 'a', extra: 1 });
    expect(fake.sent(shared)).toHaveLength(2);
  });

  test('gives the work a manager of the option `transaction`', async () => {
    const rows: unknown[] = [];
    const insert = async (_: unknown, row: unknown) => rows.push(row);
    const fake = new FakeHalfMessages({ transaction: () => fakeTransaction({ insert }) });
    await fake.send(shared, { id: 'a' }, (tx) => tx.insert('sale', { id: 'a' }));
    expect(rows).toEqual([{ id: 'a' }]);
  });
});

describe('fakeTransaction', () => {
  test('names a method that the test has to give', () => {
    expect(() => fakeTransaction().getRepository('sale')).toThrow(/fakeTransaction\(\{ getRepository: \.\.\. \}\)/);
  });

  test('can be awaited, printed and compared', async () => {
    const tx = fakeTransaction({ insert: async () => {} });
    expect(await Promise.resolve(tx)).toBe(tx);
    expect(JSON.stringify(tx)).toContain('isTransactionActive');
  });
});
