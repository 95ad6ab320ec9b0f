import { beforeAll, expect, onTestFinished, test } from 'vitest';
import type { IdempotencyKeys } from '../../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { type Library, LittleApp, libraryOf } from '../../tcc/little-app.js';

const library = libraryOf() as Library & { IdempotencyKeys: typeof IdempotencyKeys };
let sandbox: Sandbox;

type KeyCaller = { caller?: string };

beforeAll(async () => {
  sandbox = await freshSandbox('idempotency_keys', { audited: false });
});

test('the outcome of an Idempotency-Key is written once, and only for a claimed key', async () => {
  const app = await LittleApp.start({ sandbox, library });
  onTestFinished(() => app.close());
  const { context, source } = app;
  const keys = context.get(library.IdempotencyKeys);
  const [route, key, body] = ['POST /things', 'key-1', {}];
  const settle = (told: string) => source.transaction((tx) => keys.settle(tx, { route, key, outcome: { told } }));
  await expect(settle('early')).rejects.toThrow(/POST \/things: it is not claimed/);
  await source.transaction((tx) => keys.claim(tx, { route, key, body, gid: 'thing-1' }));
  await settle('first');
  await expect(settle('second')).rejects.toThrow(/already has an outcome/);
  expect(await keys.find({ route, key, body })).toEqual({ gid: 'thing-1', outcome: { told: 'first' } });
});

test('a key belongs to its caller: the same key and body of another one are another call', async () => {
  const app = await LittleApp.start({ sandbox, library });
  onTestFinished(() => app.close());
  const { context, source } = app;
  const keys = context.get(library.IdempotencyKeys);
  const key = { route: 'POST /orders', key: 'first-order', body: { sku: 'pen' } };
  const claim = (gid: string, caller: KeyCaller) =>
    source.transaction((tx) => keys.claim(tx, { ...key, ...caller, gid }));
  const [ann, bob, all]: KeyCaller[] = [{ caller: 'ann' }, { caller: 'bob'.repeat(200) }, {}];
  expect(await claim('of-ann', ann!)).toEqual({ first: true });
  expect(await claim('of-bob', bob!)).toEqual({ first: true });
  expect(await claim('of-all', all!)).toEqual({ first: true });
  expect(await claim('again', ann!)).toMatchObject({ first: false, gid: 'of-ann' });
  await source.transaction((tx) => keys.settle(tx, { ...key, ...bob, outcome: 'refused' }));
  expect(await keys.find({ ...key, ...ann })).toEqual({ gid: 'of-ann', outcome: null });
  expect(await keys.find({ ...key, ...bob })).toEqual({ gid: 'of-bob', outcome: 'refused' });
  // The split between caller and key counts, not only their texts in a row.
  expect(await keys.find({ ...key, key: 'nfirst-order', caller: 'an' })).toBeNull();
});
