import type { EntityManager } from 'typeorm';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { messageToAppend } from '../../local-message/outbox.js';
import { OnMessage } from '../consumer/consumer-decorators.js';
import { defineMessage } from './message-contract.js';

const definition = { name: 'test.argument', version: 1, schema: z.object({}), consumers: ['shop.argument'] };
const nothing = undefined as never;

test('a payload in the place of the contract is named, and so is an undefined import', () => {
  expect(() => messageToAppend({ sku: 'book' } as never, nothing, 1_000)).toThrow(
    'append(tx, contract, payload) needs a message contract of defineMessage, and got a value of type object',
  );
  expect(() => messageToAppend(nothing, nothing, 1_000)).toThrow('got undefined, perhaps by a circular import');
});

test('a decorator names its class and method', () => {
  class Mail {
    async send(_tx: EntityManager): Promise<void> {}
  }
  const descriptor = Object.getOwnPropertyDescriptor(Mail.prototype, 'send')!;
  expect(() => OnMessage(nothing)(Mail.prototype, 'send', descriptor)).toThrow(
    /decorator of Mail.send needs a message/,
  );
});

test('a contract without gid is refused when it is defined', () => {
  expect(() => defineMessage(definition as never)).toThrow('test.argument: gid must be a function of the payload');
});
