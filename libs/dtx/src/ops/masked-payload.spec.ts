import { describe, expect, it } from 'vitest';
import { maskedPayload } from './masked-payload.js';
import { opsOptions } from './options.js';

const { maskedFields } = opsOptions.parse({});
const shown = (value: unknown) => JSON.parse(maskedPayload(JSON.stringify(value), maskedFields));

describe('maskedPayload', () => {
  it.each(['password', 'userPassword', 'API_KEY', 'api-key', 'accessToken', 'cardNumber', 'x-secret', 'IBAN'])(
    'hides the field %s at every level',
    (name) => {
      expect(shown({ [name]: 'x', list: [{ deep: { [name]: { inner: 1 } } }] })).toEqual({
        [name]: '***',
        list: [{ deep: { [name]: '***' } }],
      });
    },
  );

  it('hides fields of JSON inside a text, and shows other texts', () => {
    const inner = JSON.stringify({ password: 'p4ss', deeper: JSON.stringify([{ token: 't' }]), id: 1 });
    const { payload, note } = shown({ payload: inner, note: '{not JSON' });
    expect(JSON.parse(payload)).toEqual({ password: '***', deeper: '[{"token":"***"}]', id: 1 });
    expect(note).toBe('{not JSON');
  });

  it('shows other fields as they are, texts with markup included', () => {
    const value = { orderId: '1', note: '<img src=x onerror=alert(1)>', amount: 1_999, none: null };
    expect(shown(value)).toEqual(value);
  });

  it('hides text that is not JSON, and values below the deepest level', () => {
    expect(maskedPayload('password=x', maskedFields)).toBe('***');
    const deep = '['.repeat(5_000) + ']'.repeat(5_000);
    expect(maskedPayload(deep, maskedFields)).not.toContain('['.repeat(100));
  });

  it('does not let a field named __proto__ change an object', () => {
    const text = maskedPayload('{"__proto__":{"polluted":1},"token":"x"}', maskedFields);
    expect(JSON.parse(text).token).toBe('***');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});
