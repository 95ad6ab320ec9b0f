import { beforeAll, expect, onTestFinished, test } from 'vitest';
import type { IdempotencyKeys } from '../../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { type Library, LittleApp, libraryOf } from '../../tcc/little-app.js';

const library = libraryOf() as Library & { IdempotencyKeys: typeof IdempotencyKeys };
let sandbox: Sandbox;

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
