import { NotFoundException } from '@nestjs/common';
import { IdempotencyKeyBusy, IdempotencyKeyReused, OutcomeUnknown, Rejected, Unavailable } from 'nest-dtx';
import { describe, expect, it } from 'vitest';
import { InvalidRequest, MethodNotAllowed, NotFound, type Problem, ProblemError, problemOf } from './problem.js';

class Refused extends ProblemError {
  override readonly status = 409;
  override readonly members = { type: 'urn:test:refused', orderId: 'order-1' };
}

describe('problemOf', () => {
  it.each<[string, unknown, Partial<Problem>]>([
    ['a wrong request', new InvalidRequest([{ field: 'x', why: 'is wrong' }]), { status: 400, detail: 'x is wrong' }],
    ['an unknown id', new NotFound('no such order'), { status: 404, detail: 'no such order' }],
    ['an unknown path', new NotFoundException('Cannot GET /x'), { status: 404, detail: 'Cannot GET /x' }],
    ['a wrong method', new MethodNotAllowed(['GET', 'PUT']), { status: 405 }],
    ['a business error with a status', new Refused('no'), { status: 409, detail: 'no', orderId: 'order-1' }],
    ['a rejection', new Rejected('OUT_OF_STOCK'), { status: 409, reason: 'OUT_OF_STOCK' }],
    ['a body that is too large', Object.assign(new Error('too large'), { statusCode: 413 }), { status: 413 }],
    ['a dead database', Object.assign(new Error('no'), { code: 'ECONNREFUSED', fatal: true }), { status: 503 }],
  ])('maps %s', (_, error, expected) => {
    const { problem, unexpected } = problemOf(error);
    expect(problem).toMatchObject(expected);
    expect(problem.type).not.toBe('');
    expect(problem.title).not.toBe('');
    expect(unexpected).toBe(false);
  });

  it('gives a busy key, a reused key and a refusal different types', () => {
    const [busy, reused, refused] = [
      Object.create(IdempotencyKeyBusy.prototype),
      Object.create(IdempotencyKeyReused.prototype),
      new Rejected('X'),
    ].map((error) => problemOf(error).problem);
    expect([busy.status, reused.status, refused.status]).toEqual([409, 422, 409]);
    expect(new Set([busy.type, reused.type, refused.type]).size).toBe(3);
  });

  it('says for an unavailable service that nothing was done, and for a lost answer that the call may have been', () => {
    const lost = Object.assign(new Error('no'), { code: 'ECONNRESET', fatal: true });
    const details = [new Unavailable('no'), new OutcomeUnknown('no'), lost].map((error) => {
      const { problem, headers } = problemOf(error);
      expect([problem.status, Number(headers['retry-after'])]).toEqual([503, 2]);
      return problem.detail;
    });
    expect(details[0]).toContain('nothing was done');
    expect(details[1]).toContain('may have been carried out');
    expect(details[2]).toBe(details[1]);
  });

  it('hides the text of an unavailable service from the caller, and gives it to the log', () => {
    const dead = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED', fatal: true });
    const answers = [new Unavailable('db-7 is full'), new OutcomeUnknown('db-7 was silent'), dead].map(problemOf);
    for (const { problem } of answers) expect(JSON.stringify(problem)).not.toMatch(/db-7|ECONN/);
    expect(answers.map(({ withheld }) => withheld)).toEqual([
      'db-7 is full',
      'outcome unknown, db-7 was silent',
      'ECONNREFUSED',
    ]);
    expect(problemOf(new Rejected('X')).withheld).toBeUndefined();
  });

  it.each([
    new Error('the password is s3cr3t'),
    'the password is s3cr3t',
    null,
    undefined,
    Object.assign(new Error('s3cr3t'), { statusCode: 500 }),
    Object.assign(new Error('s3cr3t'), { code: 'ER_PARSE_ERROR' }),
  ])('reveals nothing about the unexpected error %s', (error) => {
    const { problem, unexpected } = problemOf(error);
    expect(problem.status).toBe(500);
    expect(JSON.stringify(problem)).not.toContain('s3cr3t');
    expect(unexpected).toBe(true);
  });
});
