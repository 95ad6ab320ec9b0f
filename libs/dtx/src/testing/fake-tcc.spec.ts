import type { DataSource, EntityManager } from 'typeorm';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { changesOneRow, defineMessage, inTransaction, OutcomeUnknown, Rejected } from '../core/index.js';
import {
  defineParticipant,
  type Tcc,
  type TccBranch,
  TccCancel,
  TccConfirm,
  TccConfirmed,
  TccParticipant,
  TccTry,
} from '../tcc/index.js';
import { FakeLocalMessages } from './fake-local-messages.js';
import type { PublicOf } from './fake-options.js';
import { FakeTcc } from './fake-tcc.js';
import { FakeDataSource, fakeTransaction } from './fake-transaction.js';

const args = z.object({ sku: z.string(), until: z.coerce.date().optional() });
const stock = defineParticipant({ name: 'fakes.stock', version: 1, args });
const funds = defineParticipant({ name: 'fakes.funds', version: 1, args });
const reserved = defineMessage({
  name: 'fakes.reserved',
  version: 1,
  schema: z.object({ id: z.string() }),
  consumers: ['fakes.reserved'],
  gid: ({ id }) => id,
});

@TccParticipant(stock)
class ReserveStock {
  readonly seen: Array<readonly [string, string, Partial<TccBranch>]> = [];
  constructor(private readonly messages = new FakeLocalMessages()) {}

  @TccTry() async reserve(tx: EntityManager, given: { sku: string }, branch: TccBranch) {
    await this.messages.append(tx, reserved, { id: branch.gid });
    if (given.sku === 'none') throw new Rejected('OUT_OF_STOCK');
    return { shelf: 7 };
  }
  @TccConfirm() take(_: EntityManager, given: { sku: string }, branch: TccBranch) {
    this.seen.push(['confirm', given.sku, branch]);
    if (given.sku === 'stuck') throw new Error('locked');
  }
  @TccCancel() free(_: EntityManager, given: { sku: string }, branch: TccBranch) {
    this.seen.push(['cancel', given.sku, branch]);
  }
  @TccConfirmed() tell(given: { sku: string }, branch: TccBranch) {
    this.seen.push(['confirmed', given.sku, branch]);
  }
}

@TccParticipant(stock, { try: 'reserve', confirm: 'take', cancel: 'free' })
class NamedStock {
  readonly seen: string[] = [];
  reserve(_: EntityManager, given: { sku: string }) {
    this.seen.push(`try ${given.sku}`);
  }
  take(_: EntityManager, given: { sku: string }) {
    this.seen.push(`confirm ${given.sku}`);
  }
  free() {}
}

test('a participant may name its methods in the decorator', async () => {
  const named = new NamedStock();
  const tcc = new FakeTcc({ app: 'shop' }).participant(named);
  await tcc.run({ gid: 'named' }, (t) => t.call(stock, { sku: 'book' }));
  expect(named.seen).toEqual(['try book', 'confirm book']);
});

test('inTransaction runs on the stand-in of a DataSource', async () => {
  const query = async () => ({ affectedRows: 1 });
  const source = new FakeDataSource({ transaction: () => fakeTransaction({ query }) });
  const work = (tx: EntityManager) => changesOneRow(tx, 'UPDATE stock SET available = 1');
  expect(await inTransaction(source as unknown as DataSource, work)).toBe(true);
});

test('FakeTcc has the public methods of Tcc', () => {
  expectTypeOf<Pick<FakeTcc, keyof PublicOf<Tcc>>>().toEqualTypeOf<PublicOf<Tcc>>();
});

describe('a transaction of FakeTcc', () => {
  test('is confirmed at each participant, with the result of its Try', async () => {
    const reserve = new ReserveStock();
    const tcc = new FakeTcc({ app: 'shop' }).participant(reserve).stub(funds);
    const outcome = await tcc.run({ gid: 'g1' }, (t) => {
      t.call(stock, { sku: 'apple' });
      t.call(funds, { sku: 'coin' });
    });
    expect(outcome).toEqual({ gid: 'g1', status: 'CONFIRMED', decidedAt: expect.any(Date), waitingFor: [] });
    expect(reserve.seen).toEqual([
      ['confirm', 'apple', expect.objectContaining({ gid: 'g1', initiator: 'shop', branch: 0, data: { shelf: 7 } })],
      ['confirmed', 'apple', expect.objectContaining({ data: undefined, decidedAt: outcome.decidedAt })],
    ]);
    expect(await tcc.outcome('g1')).toEqual(outcome);
    expect(await tcc.argsOf('g1', funds)).toEqual({ sku: 'coin' });
    expect(tcc.called(stock)).toEqual([{ sku: 'apple' }]);
    expect(await tcc.outcome('g2')).toBeNull();
  });

  test('is cancelled by a refusal, only where Try had an effect', async () => {
    const messages = new FakeLocalMessages();
    const reserve = new ReserveStock(messages);
    const cancelled: string[] = [];
    const tcc = new FakeTcc().participant(reserve).stub(funds, { cancel: (_, { reason }) => cancelled.push(reason!) });
    const outcome = await tcc.run({}, (t) => {
      t.call(funds, { sku: 'coin' });
      t.call(stock, { sku: 'none' });
    });
    expect(outcome).toMatchObject({ status: 'CANCELLED', reason: 'OUT_OF_STOCK' });
    expect(cancelled).toEqual(['OUT_OF_STOCK']);
    expect(reserve.seen).toEqual([]);
    expect(messages.sent(reserved)).toEqual([]);
  });

  test('is cancelled with the reason TIMEOUT when a Try fails otherwise', async () => {
    const fail = () => {
      throw new OutcomeUnknown('no answer');
    };
    const tcc = new FakeTcc().stub(stock, { try: fail });
    expect(await tcc.run({}, (t) => t.call(stock, { sku: 'a' }))).toMatchObject({
      status: 'CANCELLED',
      reason: 'TIMEOUT',
    });
  });

  test('waits for a participant whose Confirm fails', async () => {
    const tcc = new FakeTcc().participant(new ReserveStock());
    const outcome = await tcc.run({}, (t) => t.call(stock, { sku: 'stuck' }));
    expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: ['fakes.stock'] });
  });

  test('is cancelled when the result of a Try cannot be stored', async () => {
    const tcc = new FakeTcc().stub(stock, { try: () => new Map() });
    expect(await tcc.run({}, (t) => t.call(stock, { sku: 'a' }))).toMatchObject({ status: 'CANCELLED' });
  });

  test('gives each phase its own arguments, parsed by the contract', async () => {
    const dates: unknown[] = [];
    const spoil = (given: z.output<typeof args>) => {
      dates.push(given.until);
      given.sku = 'spoilt';
    };
    const tcc = new FakeTcc().stub(stock, { try: spoil, confirm: (given) => dates.push(given.sku) });
    await tcc.run({}, (t) => t.call(stock, { sku: 'a', until: new Date(0) }));
    expect(dates).toEqual([new Date(0), 'a']);
  });
});

describe('FakeTcc refuses', () => {
  const accepting = () => new FakeTcc().stub(stock);

  test('arguments that violate the contract', async () => {
    const wrong = accepting().run({}, (t) => t.call(stock, { sku: 1 } as never));
    await expect(wrong).rejects.toThrow(/arguments do not fit TCC participant fakes\.stock v1: sku/);
  });

  test('arguments that JSON would change', async () => {
    const parent = defineParticipant({ name: 'fakes.any', version: 1, args: z.object({ any: z.unknown() }) });
    const wrong = new FakeTcc().stub(parent).run({}, (t) => t.call(parent, { any: new Map() }));
    await expect(wrong).rejects.toThrow(/arguments do not fit/);
  });

  test('a participant that is not registered', async () => {
    const wrong = accepting().run({}, (t) => t.call(funds, { sku: 'a' }));
    await expect(wrong).rejects.toThrow(/register it with tcc\.participant\(instance\) or tcc\.stub\(contract\)/);
  });

  test('an asynchronous define, a transaction without calls, and a wrong time limit', async () => {
    await expect(accepting().run({}, async () => {})).rejects.toThrow(/asynchronous/);
    await expect(accepting().run({}, () => {})).rejects.toThrow(/at least one branch/);
    const late = accepting().run({ timeoutMs: 0 }, (t) => t.call(stock, { sku: 'a' }));
    await expect(late).rejects.toThrow(/invalid timeoutMs/);
  });

  test('a gid that it knows, and begins nothing', async () => {
    const tcc = accepting();
    const run = () => tcc.run({ gid: 'twice' }, (t) => t.call(stock, { sku: 'a' }));
    await run();
    await expect(run()).rejects.toThrow(/exists already/);
    expect(tcc.called(stock)).toHaveLength(1);
  });

  test('a transaction whose `within` throws, and tries nothing', async () => {
    const tcc = accepting();
    const within = async () => {
      throw new Error('key is busy');
    };
    await expect(tcc.run({ within }, (t) => t.call(stock, { sku: 'a' }))).rejects.toThrow('key is busy');
    expect(tcc.called(stock)).toEqual([]);
  });

  test('a class without @TccParticipant, or without a phase', () => {
    @TccParticipant(stock)
    class Half {
      @TccTry() reserve(_tx: EntityManager) {}
    }
    expect(() => new FakeTcc().participant({})).toThrow(/decorate it with @TccParticipant/);
    expect(() => new FakeTcc().participant(new Half())).toThrow(/has no method for confirm/);
  });
});
