import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { OptionsError } from '../core/errors/errors.js';
import { callQueueOf, defineParticipant, secondQueueOf } from './participant-contract.js';

const args = z.object({ amount: z.number() });
const define = (name: string, version = 1) => defineParticipant({ name, version, args });

describe('defineParticipant', () => {
  it('returns a contract that cannot be changed', () => {
    const contract = define('payment.freeze-funds', 2);
    expect(contract).toEqual({ name: 'payment.freeze-funds', version: 2, args });
    expect(Object.isFrozen(contract)).toBe(true);
  });

  it.each(['', 'payment', 'payment.', '.funds', 'Payment.funds', 'a.b.c', 'a_b.c', `${'x'.repeat(33)}.a`, 'a.b\n'])(
    'refuses the name %j',
    (name) => {
      expect(() => define(name)).toThrow(OptionsError);
    },
  );

  it('refuses the name of the queues of answers', () => {
    expect(() => define('payment.answers')).toThrow(/payment\.answers/);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses version %s', (version) => {
    expect(() => define('payment.funds', version)).toThrow(/use 1, 2, \.\.\./);
  });
});

describe('the queues of a participant', () => {
  it('have one name for calls and another for the second phase, with the version in both', () => {
    const contract = define('payment.freeze-funds', 3);
    expect(callQueueOf(contract)).toBe('dtx.payment.tcc-freeze-funds.v3');
    expect(secondQueueOf(contract)).toBe('dtx.payment.tcc-freeze-funds.second.v3');
  });
});
