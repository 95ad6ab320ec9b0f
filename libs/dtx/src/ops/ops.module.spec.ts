import { expect, it } from 'vitest';
import { OptionsError } from '../core/errors/errors.js';
import { OpsModule } from './ops.module.js';

it('forRoot refuses an empty admin token', () => {
  expect(() => OpsModule.forRoot({ adminToken: process.env.NOWHERE_SET ?? '' })).toThrow(OptionsError);
  expect(OpsModule.forRoot({ adminToken: 'a token' }).module).toBe(OpsModule);
});

it('forRoot refuses a missing admin token where the operations API has no other guard', () => {
  class OwnGuard {
    canActivate = () => true;
  }
  expect(() => OpsModule.forRoot({})).toThrow(/^ops\.adminToken: missing; give a token, or a `guard`/);
  expect(OpsModule.forRoot({ guard: OwnGuard }).controllers).toHaveLength(7);
  expect(OpsModule.forRoot({ endpoints: ['health', 'metrics'] }).controllers).toHaveLength(2);
});

it.each(['', '/', 'a b', 'a//b', '../dtx/', ':id'])('forRoot refuses the path "%s"', (path) => {
  expect(() => OpsModule.forRoot({ adminToken: 'a token', path })).toThrow(/^ops\.path: expected a path/);
});

it('forRoot refuses an unknown endpoint', () => {
  const endpoints = ['metrics', 'prometheus'] as never;
  expect(() => OpsModule.forRoot({ endpoints })).toThrow(
    'ops.endpoints: expected operations, health, metrics, got "prometheus"',
  );
});
