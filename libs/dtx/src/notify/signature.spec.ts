import { describe, expect, it } from 'vitest';
import { isNotifySecret, SignatureInvalid, signatureHeaders, verifySignature } from './signature.js';

const NEW = 'whsec_dGhlIG5ldyBzZWNyZXQgb2YgdGhlIHRlc3Rz';
const OLD = 'the old secret, as plain text';
const NOW_MS = 1_795_000_000_123;
const MINUTE = 60_000;
const BODY = '{"type":"payment.captured","data":{"name":"Zoë"}}';

const signed = (secrets: string[], nowMs = NOW_MS) => signatureHeaders({ id: 'event-1', body: BODY, secrets, nowMs });
const verify = (
  headers: Record<string, string | string[] | undefined>,
  { body = BODY, secrets = [NEW], nowMs = NOW_MS } = {},
) => verifySignature({ headers, body: Buffer.from(body), secrets, nowMs });

describe('signatureHeaders', () => {
  it('signs as the example of the Standard Webhooks specification does', () => {
    const example = signatureHeaders({
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      body: '{"test": 2432232314}',
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
      nowMs: 1_614_265_330_000,
    });
    expect(example).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('has one signature for each secret, in the order of the secrets', () => {
    const both = signed([NEW, OLD])['webhook-signature'];
    expect(both).toBe([signed([NEW]), signed([OLD])].map((one) => one['webhook-signature']).join(' '));
  });
});

describe('verifySignature', () => {
  it('returns the id of an event that any of the secrets has signed', () => {
    expect(verify(signed([NEW]))).toBe('event-1');
    expect(verify(signed([NEW, OLD]), { secrets: [OLD] })).toBe('event-1');
    expect(verify(signed([OLD]), { secrets: [NEW, OLD] })).toBe('event-1');
  });

  it('refuses a body that was changed on the way', () => {
    expect(() => verify(signed([NEW]), { body: `${BODY} ` })).toThrow(SignatureInvalid);
  });

  it('refuses a signature by another secret', () => {
    expect(() => verify(signed([OLD]))).toThrow(/webhook-signature/);
  });

  it.each(['webhook-id', 'webhook-timestamp'])('refuses a message whose %s was changed', (name) => {
    const changed = name === 'webhook-id' ? 'event-2' : String(Math.floor(NOW_MS / 1_000) + 1);
    expect(() => verify({ ...signed([NEW]), [name]: changed })).toThrow(/webhook-signature/);
  });

  it.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])('refuses a message without %s', (name) => {
    expect(() => verify({ ...signed([NEW]), [name]: undefined })).toThrow(`header ${name} is missing`);
    expect(() => verify({ ...signed([NEW]), [name]: ['a', 'b'] })).toThrow(`header ${name} is missing`);
  });

  it.each(['', 'a b', 'x'.repeat(65)])('refuses the id %j', (id) => {
    expect(() => verify({ ...signed([NEW]), 'webhook-id': id })).toThrow(/webhook-id/);
  });

  it.each(['', '1e9', '-1', '1.5', '1'.repeat(13)])('refuses the timestamp %j', (timestamp) => {
    expect(() => verify({ ...signed([NEW]), 'webhook-timestamp': timestamp })).toThrow(/webhook-timestamp/);
  });

  it.each([-5, 5])('allows a clock that differs by %i minutes, and refuses one that differs by more', (minutes) => {
    const sentAt = Math.floor(NOW_MS / 1_000) * 1_000;
    expect(verify(signed([NEW]), { nowMs: sentAt + minutes * MINUTE })).toBe('event-1');
    expect(() => verify(signed([NEW]), { nowMs: sentAt + minutes * MINUTE + Math.sign(minutes) })).toThrow(
      /more than 5 minutes off/,
    );
  });

  it('refuses signatures of another version and of another length', () => {
    const [value] = [signed([NEW])['webhook-signature']!];
    for (const bad of [value.replace('v1,', 'v2,'), value.replace('v1,', ''), 'v1,', `v1,${'A'.repeat(40)}`, ''])
      expect(() => verify({ ...signed([NEW]), 'webhook-signature': bad })).toThrow(SignatureInvalid);
  });

  it.each([undefined, null, { id: 'parsed' }])('says what to do without the raw body (%j)', (body) => {
    const message = { headers: signed([NEW]), body: body as never, secrets: [NEW], nowMs: NOW_MS };
    expect(() => verifySignature(message)).toThrow(/start Nest with \{ rawBody: true \}/);
  });

  it.each([Number.NaN, undefined, Number.POSITIVE_INFINITY])(
    'refuses the clock %j, which fits any timestamp',
    (nowMs) => {
      const message = { headers: signed([NEW]), body: Buffer.from(BODY), secrets: [NEW], nowMs: nowMs as never };
      expect(() => verifySignature(message)).toThrow(/nowMs is/);
    },
  );

  it('reads at most 20 signatures', () => {
    const { 'webhook-signature': good, ...rest } = signed([NEW]);
    const behind = (others: number) => `${'v1,AAAA '.repeat(others)}${good}`;
    expect(verify({ ...rest, 'webhook-signature': behind(19) })).toBe('event-1');
    expect(() => verify({ ...rest, 'webhook-signature': behind(20) })).toThrow(SignatureInvalid);
  });
});

const BASE64_OF_24 = 'QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB';
const WEAK = [
  'whsec_',
  'whsec_!!!!!!!!!!!!',
  'whsec_the-secret-of-a-shop-as-plain-text',
  `whsec_${BASE64_OF_24.slice(0, 31)}`,
  `whsec_${BASE64_OF_24}A`,
  `whsec_${BASE64_OF_24}=`,
  `whsec_ ${BASE64_OF_24}`,
  `whsec_${BASE64_OF_24.slice(0, -2)}-_`,
  'fifteen letters',
  'a secret that ends with a line break\n',
  ' a secret that begins with a space',
  '',
];

describe('a secret', () => {
  it.each(WEAK)('%j is refused, and neither signs nor verifies', (secret) => {
    expect(isNotifySecret(secret)).toBe(false);
    expect(() => signed([secret])).toThrow(/cannot use a secret of notifications/);
    expect(() => verify(signed([NEW]), { secrets: [secret] })).toThrow(/cannot use a secret of notifications/);
  });

  it.each([
    `whsec_${BASE64_OF_24}`,
    `whsec_${BASE64_OF_24}QQ==`,
    `whsec_${BASE64_OF_24}QQ`,
    'sixteen letters!',
    NEW,
    OLD,
  ])('%j is accepted', (secret) => {
    expect(isNotifySecret(secret)).toBe(true);
    expect(verify(signed([secret]), { secrets: [secret] })).toBe('event-1');
  });
});
