import { type Provider, Scope, SetMetadata, type Type } from '@nestjs/common';
import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant } from '../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';

let sandbox: Sandbox;
let library: Library;
const contractOf = (name: string, version = 1): Participant<object> =>
  library.decorators.defineParticipant({ name, version, args: z.object({}) });

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_discovery', { audited: false });
  library = libraryOf();
});

/** Takes a mark off a class: its author has forgotten it. */
function without(type: Type, phase: 'try' | 'confirm' | 'cancel'): Type {
  Object.defineProperty(type.prototype, phase, { value: () => {} });
  return type;
}

const made = (name: string, version?: number) => participantOf(library, contractOf(name, version), {});

function requestScoped(): Type {
  const type = made('payment.funds');
  SetMetadata('__injectable__', true)(type);
  Reflect.defineMetadata('scope:options', { scope: Scope.REQUEST }, type);
  return type;
}

function withTwoTries(): Type {
  const type = made('payment.funds');
  const descriptor = { value: () => {}, writable: true, configurable: true };
  Object.defineProperty(type.prototype, 'again', descriptor);
  library.decorators.Try()(type.prototype, 'again', descriptor);
  return type;
}

const wrong: Array<[string, () => Type[], RegExp]> = [
  ['that was promised and is missing', () => [], /payment\.funds v1 has no @TccParticipant class/],
  [
    'of another version than was promised',
    () => [made('payment.funds', 2)],
    /payment\.funds v1 has no @TccParticipant/,
  ],
  [
    'that is there twice',
    () => [made('payment.funds'), made('payment.funds')],
    /payment\.funds v1 \(Made\) is registered twice/,
  ],
  ['that is request-scoped', () => [requestScoped()], /payment\.funds v1 \(Made\) is request-scoped/],
  ['of another app', () => [made('order.checkout')], /order\.checkout v1 \(Made\) belongs to another app than payment/],
  [
    'without Cancel',
    () => [without(made('payment.funds'), 'cancel')],
    /payment\.funds v1 \(Made\) has no method for cancel/,
  ],
  ['with two methods for Try', () => [withTwoTries()], /payment\.funds v1 \(Made\) has two methods for try/],
];

test.each(wrong)('a participant %s stops the application at start', async (_, providersOf, error) => {
  const participates = { participates: [contractOf('payment.funds')] };
  await expect(LittleApp.start({ sandbox, library, providers: providersOf(), participates })).rejects.toThrow(error);
});

test.each<[string, (type: Type) => Provider[]]>([
  ['useFactory', (type) => [{ provide: type, useFactory: () => new type() }]],
  ['an asynchronous useFactory', (type) => [{ provide: 'funds', useFactory: async () => new type() }]],
  ['useValue', (type) => [{ provide: 'funds', useValue: new type() }]],
  ['useClass', (type) => [{ provide: 'funds', useClass: type }]],
  ['two tokens for one instance', (type) => [type, { provide: 'funds', useExisting: type }]],
])('a participant that %s provides is served', async (_, providersOf) => {
  const participates = { participates: [contractOf('payment.funds')] };
  const app = await LittleApp.start({ sandbox, library, providers: providersOf(made('payment.funds')), participates });
  const outcome = await app.tcc.run({}, (t) => t.call(contractOf('payment.funds'), {}));
  expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: [] });
  await app.close();
});

test('two versions of one participant are two participants', async () => {
  const providers = [made('payment.funds', 1), made('payment.funds', 2)];
  const app = await LittleApp.start({ sandbox, library, providers });
  const outcome = await app.tcc.run({}, (t) => {
    t.call(contractOf('payment.funds', 1), {});
    t.call(contractOf('payment.funds', 2), {});
  });
  expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: [] });
  await app.close();
});
