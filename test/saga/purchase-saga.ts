/** The saga of the tests: two steps that can be undone, the pivot, and one step after it, at three apps. */
import { z } from 'zod';
import type { Libraries } from './saga-apps.js';

/** Its contracts, for the library as it is built or for a mutant of it. */
export function purchaseOf({ saga }: Pick<Libraries, 'saga'>) {
  const args = z.object({ sku: z.string() });
  const step = (name: string) => saga.defineStep({ name, version: 1, args });

  const place = step('order.place');
  const hold = saga.defineStep({
    name: 'inventory.hold',
    version: 1,
    args,
    result: z.object({ lot: z.string() }),
  });
  const pay = saga.defineStep({
    name: 'payment.pay',
    version: 1,
    args: z.object({ sku: z.string(), lot: z.string() }),
  });
  const confirm = step('order.confirm');

  const purchase = saga.defineSaga({
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
  /** Without a pivot. */
  const booking = saga.defineSaga({
    name: 'order.booking',
    version: 1,
    input: args,
    deadlineMs: 120_000,
    steps: ({ compensable }) => [compensable(place, (s) => s.input), compensable(hold, (s) => s.input)],
  });

  /** Without a pivot. The last step joins the commit of the final mark. */
  const stay = saga.defineSaga({
    name: 'order.stay',
    version: 1,
    input: args,
    deadlineMs: 120_000,
    steps: ({ compensable }) => [compensable(hold, (s) => s.input), compensable(place, (s) => s.input)],
  });

  return { place, hold, pay, confirm, purchase, booking, stay };
}
