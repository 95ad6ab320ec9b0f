import { describe, expect, it } from 'vitest';
import { BrokerUnavailable, DtxError } from '../errors/errors.js';
import { meaningOf, QueueRefused } from './refusal.js';

const asked = { what: 'cannot declare queue dtx.a.b.v1', queue: 'dtx.a.b.v1', right: 'configure' } as const;
const closedWith = (code: number, message: string) => Object.assign(new Error(message), { code });

describe('an error of the broker', () => {
  it.each([
    [403, /the account lacks the right "configure" on dtx\.a\.b\.v1/],
    [404, /the queue does not exist/],
    [405, /another connection holds it exclusively/],
    [406, /it exists with other arguments/],
    [540, /lacks a required feature/],
  ])('%i becomes a QueueRefused that names the queue and the reason', (code, why) => {
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
    ['a thrown string'],
  ])('becomes BrokerUnavailable if it is temporary: %s', (error) => {
    expect(meaningOf(error, asked)).toBeInstanceOf(BrokerUnavailable);
  });

  it('passes a DtxError on', () => {
    const error = new DtxError('known');
    expect(meaningOf(error, asked)).toBe(error);
  });

  it('names the exchange of a missing publish permission, and a pattern for a process queue', () => {
    const denied = closedWith(403, 'ACCESS_REFUSED');
    expect(meaningOf(denied, { ...asked, right: 'write' }).message).toContain('"write" on exchange amq.default');
    const queue = 'dtx.order.tcc-answers.00000000-0000-0000-0000-000000000000';
    expect(meaningOf(denied, { ...asked, queue }).message).toContain('(grant it on ^dtx\\.order\\.tcc-answers\\.)');
  });
});
