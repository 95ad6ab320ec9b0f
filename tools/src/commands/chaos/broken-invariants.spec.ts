import { expect, test } from 'vitest';
import type { AuditReport } from '../../audit/check-types.js';
import { brokenInvariants, oneOfEach } from './broken-invariants.js';

const ORDER = '0199d7a4-0000-7000-8000-000000000001';
const check = (name: string, violations: string[]) => ({ name, ok: violations.length === 0, figures: {}, violations });
const parked: AuditReport['parked'][number] = {
  app: 'inventory',
  table: 'dtx_inbox',
  id: 'm1',
  gid: ORDER,
  scheme: 'local-message',
  error: 'gave up',
  retry: '',
};
const whole = { checks: [check('money', [])], nothing: false, parked: [] };

test('a run that holds has no broken invariant', () => expect(brokenInvariants([], whole)).toEqual([]));

test('a violation of the audit names its check and its purchase', () => {
  const checks = [check('money', ['buyer-1 has 3 too many']), check('purchases', [`order ${ORDER}: is PENDING`])];
  expect(brokenInvariants([], { ...whole, checks })).toEqual([
    { invariant: 'money', text: 'buyer-1 has 3 too many', orderId: undefined },
    { invariant: 'purchases', text: `order ${ORDER}: is PENDING`, orderId: ORDER },
  ]);
});

test.each([
  `payment ${ORDER} is CAPTURED, and no notification of it was recorded`,
  `notification ${ORDER}.CAPTURED is DELIVERED, but the merchant does not have it`,
  `saga ${ORDER} is UNDOING, which is not final`,
  `payment: the barrier of ${ORDER}.goods has let through try, then nothing`,
])('a violation names its purchase, whatever it is about: %s', (text) => {
  const [found] = brokenInvariants([], { ...whole, checks: [check('any', [text])] });
  expect(found!.orderId).toBe(ORDER);
});

test('a row that is left parked is broken, and so is an empty sandbox', () => {
  expect(brokenInvariants([], { ...whole, parked: [parked] })).toEqual([
    { invariant: 'no row is parked', text: 'inventory.dtx_inbox m1: gave up', orderId: ORDER },
  ]);
  expect(brokenInvariants([], { ...whole, nothing: true })).toHaveLength(1);
});

test('one of each kind is shown, with a purchase where there is one', () => {
  const found = [
    { invariant: 'money', text: 'a' },
    { invariant: 'kept', text: 'b', orderId: undefined },
    { invariant: 'kept', text: 'c', orderId: ORDER },
  ];
  expect(oneOfEach(found)).toEqual([found[0], found[2]]);
});
