import { ServiceUnavailableException } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  BrokerUnavailable,
  DatabaseUnavailable,
  OutcomeUnknown,
  Rejected,
  Unconfirmed,
} from '../core/errors/errors.js';
import { errorAnswerOf } from './error-answer.js';

/** An error of mysql2. */
const withCode = (code: string) => Object.assign(new Error('db-7 has no room'), { code, fatal: true });

describe('errorAnswerOf', () => {
  it('answers 409 with the code for a rejection', () => {
    expect(errorAnswerOf(new Rejected('OUT_OF_STOCK', 'nothing left'))).toEqual({
      kind: 'rejected',
      status: 409,
      headers: {},
      type: 'urn:nest-dtx:refused',
      detail: 'nothing left',
      reason: 'OUT_OF_STOCK',
    });
  });

  it.each([
    ['unavailable', new BrokerUnavailable('no connection')],
    ['unavailable', new DatabaseUnavailable('cannot connect', withCode('ECONNREFUSED'))],
    ['unavailable', withCode('ECONNREFUSED')],
    ['outcome-unknown', new OutcomeUnknown('no answer')],
    ['outcome-unknown', new Unconfirmed('no confirm')],
    ['outcome-unknown', withCode('ECONNRESET')],
  ])('answers 503 with Retry-After and the kind %s for %s', (kind, error) => {
    expect(errorAnswerOf(error)).toMatchObject({ kind, status: 503, headers: { 'retry-after': '2' } });
  });

  it('withholds the reason of a 503 from the text for the caller', () => {
    const { detail, withheld } = errorAnswerOf(withCode('ECONNREFUSED'))!;
    expect(withheld).toContain('db-7');
    expect(detail).not.toContain('db-7');
  });

  it.each([
    new Error('a bug'),
    new TypeError('x is not a function'),
    new ServiceUnavailableException('Pool is closed'),
    Object.assign(new Error('of a client of another service'), { code: 'ECONNREFUSED', syscall: 'connect' }),
    Object.assign(new Error('of a client of another service'), { code: 'ECONNRESET', syscall: 'read' }),
    'a text',
    null,
    undefined,
  ])('returns null for %s', (error) => {
    expect(errorAnswerOf(error)).toBeNull();
  });
});
