import { describe, expect, it } from 'vitest';
import { BrokerUnavailable, DtxError } from '../errors/errors.js';
import { meaningOf, QueueRefused } from './refusal.js';

const asked = { what: 'cannot declare queue dtx.a.b.v1', queue: 'dtx.a.b.v1', right: 'configure' } as const;
const closedWith = (code: number, message: string) => Object.assign(new Error(message), { code });

describe('what an error of the broker means', () => {
  it.each([
    [403, /the account lacks the right "configure" on dtx\.a\.b\.v1/],
    [404, /there is no such queue/],
    [405, /another connection has it to itself/],
    [406, /it exists with other arguments/],
    [540, /lacks a feature/],
  ])('%i is a refusal that names the queue and the reason', (code, why) => {
    const meaning = meaningOf(closedWith(code, 'as the broker says it'), asked);
    expect(meaning).toBeInstanceOf(QueueRefused);
    expect(meaning).not.toBeInstanceOf(BrokerUnavailable);
    expect(meaning).toMatchObject({ code, queue: 'dtx.a.b.v1' });
    expect(meaning.message).toMatch(why);
    expect(meaning.message).toMatch(/^cannot declare queue dtx\.a\.b\.v1: .*as the broker says it$/);
  });

  it.each([
    [closedWith(404, "home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible")],
    [closedWith(320, 'CONNECTION_FORCED')],
    [closedWith(541, 'INTERNAL_ERROR')],
    [new Error('Channel ended, no reply will be forthcoming')],
    ['thrown, and no Error'],
  ])('may pass by itself: %s', (error) => {
    expect(meaningOf(error, asked)).toBeInstanceOf(BrokerUnavailable);
  });

  it('is known already where the library has thrown it', () => {
    const error = new DtxError('known');
    expect(meaningOf(error, asked)).toBe(error);
  });

  it('names the exchange where the account may not publish, and a pattern where the queue is of this process', () => {
    const denied = closedWith(403, 'ACCESS_REFUSED');
    expect(meaningOf(denied, { ...asked, right: 'write' }).message).toContain('"write" on exchange amq.default');
    const queue = 'dtx.order.tcc-answers.00000000-0000-0000-0000-000000000000';
    expect(meaningOf(denied, { ...asked, queue }).message).toContain('(grant it on ^dtx\\.order\\.tcc-answers\\.)');
  });
});
