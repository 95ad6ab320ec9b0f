import { expect, it } from 'vitest';
import { OptionsError } from './errors/errors.js';
import { optionalPackage } from './optional-package.js';

const load = (get: () => unknown) => optionalPackage('prom-client', 'OpsModule collects metrics', get, 'install it');

it('returns a package that is loaded at once or by a promise', async () => {
  expect(await load(() => 'required')).toBe('required');
  expect(await load(async () => 'imported')).toBe('imported');
});

it.each([
  () => {
    throw new Error("Cannot find module 'prom-client'");
  },
  () => Promise.reject(new Error("Cannot find module 'prom-client'")),
])('names the package, the reason and the remedy if it cannot be loaded', async (get) => {
  const failure = await load(get).then(
    () => null,
    (error: Error) => error,
  );
  expect(failure).toBeInstanceOf(OptionsError);
  expect(failure?.message).toBe(
    "OpsModule collects metrics, but prom-client cannot be loaded: Cannot find module 'prom-client'; install it",
  );
});
