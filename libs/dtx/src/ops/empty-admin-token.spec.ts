import { expect, it } from 'vitest';
import { OptionsError } from '../core/errors/errors.js';
import { OpsModule } from './ops.module.js';

it('forRoot refuses an empty admin token', () => {
  expect(() => OpsModule.forRoot({ adminToken: process.env.NOWHERE_SET ?? '' })).toThrow(OptionsError);
  expect(OpsModule.forRoot({ adminToken: 'a token' }).module).toBe(OpsModule);
});
