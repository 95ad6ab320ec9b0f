import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Envelope, fromProperties, toProperties, typeOf } from './envelope.js';
import { QueueNames } from './queue-prefix.js';

const full: Envelope = {
  messageId: '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f',
  type: 'order.placed.v1',
  gid: 'order-7',
  scheme: 'local-message',
  replyTo: 'dtx.order.receipts.v1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};

describe('an envelope', () => {
  it('uses the AMQP properties and marks the message as persistent', () => {
    expect(toProperties(full)).toMatchObject({
      messageId: full.messageId,
      type: 'order.placed.v1',
      correlationId: 'order-7',
      replyTo: 'dtx.order.receipts.v1.quorum',
      contentType: 'application/json',
      persistent: true,
      headers: { 'dtx-scheme': 'local-message', traceparent: full.traceparent },
    });
    expect(typeOf({ name: 'order.placed', version: 1 })).toBe('order.placed.v1');
  });

  it('has no property for a part that is missing', () => {
    const { replyTo, traceparent, ...least } = full;
    expect([replyTo, traceparent]).not.toContain(undefined);
    expect(toProperties(least)).not.toHaveProperty('replyTo');
    expect(toProperties(least).headers).toEqual({ 'dtx-scheme': 'local-message' });
  });

  it('is unchanged after a round trip', () => {
    const text = (lengthMax: number) => fc.stringMatching(new RegExp(`^[!-~]{1,${lengthMax}}$`));
    const anyEnvelope = fc.record({
      messageId: text(64),
      type: text(128),
      gid: text(64),
      scheme: text(32),
      replyTo: fc.option(text(128), { nil: undefined }),
      traceparent: fc.option(text(55), { nil: undefined }),
    });
    fc.assert(
      fc.property(anyEnvelope, (envelope) => {
        expect(fromProperties(toProperties(envelope, new QueueNames('dtx', 'classic')))).toEqual(envelope);
      }),
    );
  });

  it.each<[string, Parameters<typeof fromProperties>[0]]>([
    ['nothing', {}],
    ['empty texts', { messageId: '', type: '', correlationId: '', replyTo: '', headers: { 'dtx-scheme': '' } }],
    ['no texts', { messageId: 7, type: null, correlationId: {}, replyTo: [], headers: { traceparent: true } }],
    ['blanks and line ends', { messageId: 'a b', type: 'a\n', correlationId: 'a\r\nb', replyTo: '\t' }],
    ['other alphabets', { messageId: 'é', type: '😀', correlationId: '\0', replyTo: '\u2028' }],
    ['too much', { messageId: 'x'.repeat(65), correlationId: 'x'.repeat(65), type: 'x'.repeat(129) }],
  ])('is undefined in each malformed field: %s', (_, properties) => {
    expect(Object.values(fromProperties(properties)).filter((value) => value !== undefined)).toEqual([]);
  });

  it('never exceeds its columns, for any properties', () => {
    const headers = fc.option(fc.dictionary(fc.constantFrom('dtx-scheme', 'traceparent', 'x'), fc.anything()), {
      nil: undefined,
    });
    const properties = fc.record({
      messageId: fc.anything(),
      type: fc.anything(),
      correlationId: fc.string(),
      headers,
    });
    fc.assert(
      fc.property(properties, (given) => {
        for (const value of Object.values(fromProperties(given))) {
          if (value !== undefined) expect(value).toMatch(/^[\x21-\x7e]{1,128}$/);
        }
      }),
    );
  });
});
