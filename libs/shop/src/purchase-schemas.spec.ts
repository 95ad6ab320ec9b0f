import { describe, expect, it } from 'vitest';
import { priceList } from './prices.js';
import { amountOf, isOrderId, name, purchaseBody, QUANTITY_MAX } from './purchase-schemas.js';

const good = { buyerId: 'alice', sku: 'book', quantity: 2 };
const accepts = (body: unknown): boolean => purchaseBody.safeParse(body).success;

describe('the body of a purchase', () => {
  it('is accepted with and without a notifyUrl', () => {
    expect(accepts(good)).toBe(true);
    expect(accepts({ ...good, notifyUrl: 'https://merchant.example/results?shop=1' })).toBe(true);
  });

  it.each([
    ['a text instead of an object', 'alice'],
    ['an array', [good]],
    ['a missing field', { buyerId: 'alice', sku: 'book' }],
    ['an unknown field', { ...good, qty: 1 }],
    ['an unknown sku', { ...good, sku: 'car' }],
    ['a sku of another case', { ...good, sku: 'Book' }],
    ['a name of an object’s own property', { ...good, sku: '__proto__' }],
    ['quantity 0', { ...good, quantity: 0 }],
    ['a negative quantity', { ...good, quantity: -1 }],
    ['a fraction', { ...good, quantity: 1.5 }],
    ['too many', { ...good, quantity: QUANTITY_MAX + 1 }],
    ['a number as text', { ...good, quantity: '1' }],
    ['not a number', { ...good, quantity: Number.NaN }],
    ['infinity, as JSON makes it of 1e400', { ...good, quantity: JSON.parse('1e400') }],
    ['a buyer without a name', { ...good, buyerId: '' }],
    ['an invalid URL', { ...good, notifyUrl: 'merchant.example' }],
    ['a URL of another protocol', { ...good, notifyUrl: 'file:///etc/passwd' }],
    ['a URL with white space', { ...good, notifyUrl: 'http://merchant.example/ x' }],
    ['a URL that is too long', { ...good, notifyUrl: `http://merchant.example/${'x'.repeat(2_048)}` }],
  ])('is refused with %s', (_, body) => {
    expect(accepts(body)).toBe(false);
  });
});

describe('a name', () => {
  it.each(['a', ' ', 'alice ', 'Ålice', '🦊'.repeat(64), 'O\'Neil \\ "x"'])('may be %j', (text) => {
    expect(name.safeParse(text).success).toBe(true);
  });

  it.each(['', 'x'.repeat(65), '🦊'.repeat(65), 'nul\0', 'half \ud83e of a pair'])('may not be %j', (text) => {
    expect(name.safeParse(text).success).toBe(false);
  });
});

describe('amounts and ids', () => {
  it('amountOf calculates exactly in cents', () => {
    expect(amountOf({ sku: 'phone', quantity: 1_000 })).toBe(299_900_000);
    expect(priceList).toHaveLength(1_003);
  });

  it('isOrderId accepts only a lower-case UUID', () => {
    expect(isOrderId('01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f')).toBe(true);
    expect(isOrderId('01976D2E-8C1B-7D3A-9F00-5A1C2B3D4E5F')).toBe(false);
    expect(isOrderId("01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f' OR 1=1")).toBe(false);
  });
});
