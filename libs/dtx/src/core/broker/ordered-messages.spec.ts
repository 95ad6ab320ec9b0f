import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { messageToPublish } from '../../confirmed-publish/publish-before-commit.js';
import { messageToPrepare } from '../../half-message/send-half-message.js';
import { messageToAppend } from '../../local-message/outbox.js';
import { OptionsError } from '../errors/errors.js';
import { defineMessage } from './message-contract.js';

type Sold = { id: string; key: string };
const base = (name: string) => ({
  name: `ordered.${name}`,
  version: 1,
  schema: z.object({ id: z.string(), key: z.string() }),
  consumers: [`stock.${name}`],
  gid: ({ id }: Sold) => id,
});
const key = (message: Sold) => message.key;

describe('a contract with inOrderOf', () => {
  it('gives its messages the place of their key, and holds the key by default', () => {
    const contract = defineMessage({ ...base('held'), inOrderOf: { stream: 'held', key } });
    expect(messageToAppend(contract, { id: '1', key: 'a/b:c' }, 1_000).place).toEqual({
      streamKey: 'held:a/b:c',
      onParked: 'wait',
    });
    const passing = defineMessage({ ...base('passed'), inOrderOf: { stream: 'passed', key, onParked: 'pass' } });
    expect(messageToAppend(passing, { id: '1', key: 'a' }, 1_000).place).toEqual({
      streamKey: 'passed:a',
      onParked: 'pass',
    });
    const without = defineMessage(base('without'));
    expect(messageToAppend(without, { id: '1', key: 'a' }, 1_000).place).toBeNull();
  });

  it.each<[string, object, RegExp]>([
    ['a replicated contract', { replicated: true }, /inOrderOf needs a row at the sender.*; remove replicated/],
    ['a contract without receipts', { receipts: false }, /inOrderOf needs receipts.*; remove receipts: false/],
    ['a stream with a colon', { inOrderOf: { stream: 'a:b', key } }, /inOrderOf.stream a:b is not 1 to 39/],
    ['an empty stream', { inOrderOf: { stream: '', key } }, /is not 1 to 39/],
    ['a long stream', { inOrderOf: { stream: 's'.repeat(40), key } }, /is not 1 to 39/],
    ['a stream of another type', { inOrderOf: { stream: 7, key } }, /is not 1 to 39/],
    ['no key', { inOrderOf: { stream: 'a' } }, /inOrderOf.key is not a function/],
    [
      'another onParked',
      { inOrderOf: { stream: 'a', key, onParked: 'skip' } },
      /onParked is skip; expected wait or pass/,
    ],
  ])('is rejected for %s', (_, wrong, error) => {
    const define = () => defineMessage({ ...base('wrong'), inOrderOf: { stream: 'wrong', key }, ...wrong } as never);
    expect(define).toThrow(OptionsError);
    expect(define).toThrow(error);
  });

  it('is rejected for an exchange', () => {
    const { consumers: _, ...rest } = base('exchange');
    const publishTo = { exchange: 'shop', routingKey: 'sold' };
    const define = () =>
      defineMessage({ ...rest, publishTo, receipts: false, inOrderOf: { stream: 'exchange', key } } as never);
    expect(define).toThrow(/inOrderOf needs receipts/);
  });

  it('is rejected if another contract of its stream has another onParked', () => {
    const first = { ...base('first'), inOrderOf: { stream: 'shared', key } };
    defineMessage(first);
    const second = { ...base('second'), inOrderOf: { stream: 'shared', key, onParked: 'pass' as const } };
    expect(() => defineMessage(second)).toThrow(
      /stream shared has onParked 'wait' in ordered.first and 'pass' here; use one value/,
    );
    expect(defineMessage({ ...second, inOrderOf: { ...second.inOrderOf, onParked: 'wait' } }).version).toBe(1);
    expect(defineMessage(first)).toEqual(defineMessage(first));
  });

  it.each([
    [''],
    ['a b'],
    ['ü'],
    ['x'.repeat(101)],
    ['\n'],
    [undefined as unknown as string],
    [7 as unknown as string],
  ])('refuses the key %j in append', (wrong) => {
    const contract = defineMessage({ ...base('keys'), inOrderOf: { stream: 'keys', key: () => wrong } });
    expect(() => messageToAppend(contract, { id: '1', key: 'a' }, 1_000)).toThrow(
      /cannot append ordered.keys v1: its inOrderOf.key returned .*; expected 1 to 100 printable ASCII characters/,
    );
  });

  it('is refused by the schemes that keep no order', () => {
    const contract = defineMessage({ ...base('elsewhere'), inOrderOf: { stream: 'elsewhere', key } });
    const message = { id: '1', key: 'a' };
    expect(() => messageToPrepare(contract, message, 1_000)).toThrow(
      /cannot send as a half message ordered.elsewhere v1: contract has inOrderOf, which only the local message table keeps/,
    );
    expect(() => messageToPublish(contract, message, 1_000)).toThrow(
      /cannot publish ordered.elsewhere v1: .* inOrderOf/,
    );
  });
});
