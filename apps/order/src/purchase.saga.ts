/**
 * A purchase as a saga. The goods are taken first and the money last, since money that was passed on cannot always be taken
 * back. Meanwhile the order is PENDING, and the goods look sold to other buyers. A restart or a short outage of another app
 * ends before the deadline, so it cancels no order.
 */
import { confirmOrderStep, placeOrderStep, purchaseOnTheWay, takeMoneyStep, takeStockStep } from '@nest-dtx/shop';
import { defineSaga } from 'nest-dtx/saga';

const DEADLINE_MS = 60_000;

export const purchaseSaga = defineSaga({
  name: 'order.purchase',
  version: 1,
  input: purchaseOnTheWay,
  deadlineMs: DEADLINE_MS,
  steps: ({ compensable, pivot, retriable }) => [
    compensable(placeOrderStep, (s) => s.input),
    compensable(takeStockStep, (s) => s.input),
    pivot(takeMoneyStep, (s) => s.input),
    retriable(confirmOrderStep, (s) => s.input),
  ],
});
