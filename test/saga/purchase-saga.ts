/** The saga of the tests: two steps that can be undone, the pivot, and one step after it, at three apps. */
import { z } from 'zod';
import { saga } from './saga-apps.js';

const args = z.object({ sku: z.string() });
const step = (name: string) => saga.defineStep({ name, version: 1, args });

export const place = step('order.place');
export const hold = saga.defineStep({
  name: 'inventory.hold',
  version: 1,
  args,
  result: z.object({ lot: z.string() }),
});
export const pay = saga.defineStep({
  name: 'payment.pay',
  version: 1,
  args: z.object({ sku: z.string(), lot: z.string() }),
});
export const confirm = step('order.confirm');

export const purchase = saga.defineSaga({
  name: 'order.purchase',
  version: 1,
  input: args,
  deadlineMs: 120_000,
  steps: ({ compensable, pivot, retriable }) => [
    compensable(place, (s) => s.input),
    compensable(hold, (s) => s.input),
    pivot(pay, (s) => ({ ...s.input, lot: s.result(hold).lot })),
    retriable(confirm, (s) => s.input),
  ],
});
