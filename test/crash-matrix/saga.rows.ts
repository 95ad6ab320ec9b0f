import { expect } from 'vitest';
import { type Case, few, notYet, type Row } from './matrix-types.js';
import { barrier, endsAs, sagaOf } from './saga.scheme.js';

const DEAD_OR_LATE = few('crash', 'pause, recover, continue');
const QUICK = few('crash', 'pause, recover, continue', 'error', 'lost');

const CANCELLED = endsAs(() => 'CANCELLED');
const NO_FUNDS = { buyerId: 'stranger', sku: 'book', quantity: 1 };
const stateOf = async ({ shop, attempt }: Case) => (await sagaOf(shop, attempt.orderId))?.state;
const atInventory = ({ shop, attempt }: Case) => barrier(shop.sandbox, 'inventory', attempt.orderId);
const atPayment = ({ shop, attempt }: Case) => barrier(shop.sandbox, 'payment', attempt.orderId);

export const initiatorRows: Row[] = [
  {
    failpoint: 'saga.started',
    app: 'order',
    modes: DEAD_OR_LATE,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('RUNNING');
      expect(await barrier(at.shop.sandbox, 'order', at.attempt.orderId)).toEqual(['place: do']);
      expect(await atInventory(at)).toEqual([]);
    },
  },
  {
    failpoint: 'saga.step-answered',
    app: 'order',
    modes: DEAD_OR_LATE,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('RUNNING');
      expect(await atInventory(at)).toEqual(['take-stock: do']);
    },
  },
  {
    failpoint: 'saga.pivot-marked',
    app: 'order',
    modes: QUICK,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('PIVOT');
      expect(await atPayment(at)).toEqual([]);
    },
  },
  {
    failpoint: 'saga.pivot-answered',
    app: 'order',
    modes: DEAD_OR_LATE,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('PIVOT');
      expect(await atPayment(at)).toEqual(['take-money: do']);
    },
  },
  {
    failpoint: 'saga.fenced',
    app: 'order',
    alsoArmed: 'saga.pivot-answered=lost',
    // A lost answer is a failed attempt at once. Otherwise the fence comes at the deadline, a minute later.
    options: { saga: { absentMs: 100, attemptsMax: 1 } },
    modes: QUICK,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('PIVOT');
      expect(await atPayment(at)).toEqual(['take-money: do']);
    },
  },
  {
    failpoint: 'saga.decided',
    app: 'order',
    wanted: NO_FUNDS,
    modes: QUICK,
    proof: CANCELLED,
    disk: async (at) => {
      expect(await sagaOf(at.shop, at.attempt.orderId)).toEqual({ state: 'COMPENSATING', reason: 'UNKNOWN_BUYER' });
      expect(await atInventory(at)).toEqual(['take-stock: do']);
    },
  },
  {
    failpoint: 'saga.first-undone',
    app: 'order',
    wanted: NO_FUNDS,
    modes: DEAD_OR_LATE,
    proof: CANCELLED,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('COMPENSATING');
      expect(await atInventory(at)).toEqual(['take-stock: do undo']);
    },
  },
  {
    failpoint: 'saga.all-undone',
    app: 'order',
    wanted: NO_FUNDS,
    modes: DEAD_OR_LATE,
    proof: CANCELLED,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('COMPENSATING');
      expect(await barrier(at.shop.sandbox, 'order', at.attempt.orderId)).toEqual(['place: do undo']);
    },
  },
  {
    failpoint: 'saga.marked',
    app: 'order',
    modes: DEAD_OR_LATE,
    disk: async (at) => expect(await stateOf(at)).toBe('COMPLETED'),
  },
];

export const stepRows: Row[] = [
  {
    failpoint: 'saga.do-inserted',
    app: 'inventory',
    modes: QUICK,
    recovered: notYet,
    proof: endsAs(() => 'either'),
    disk: async (at) => expect(await atInventory(at)).toEqual([]),
  },
  {
    failpoint: 'saga.do-committed',
    app: 'inventory',
    modes: QUICK,
    disk: async (at) => expect(await atInventory(at)).toEqual(['take-stock: do']),
  },
  {
    failpoint: 'saga.do-committed',
    when: 'of the pivot',
    app: 'payment',
    modes: QUICK,
    disk: async (at) => expect(await atPayment(at)).toEqual(['take-money: do']),
  },
  {
    failpoint: 'saga.undo-committed',
    app: 'inventory',
    wanted: NO_FUNDS,
    modes: QUICK,
    proof: CANCELLED,
    disk: async (at) => expect(await atInventory(at)).toEqual(['take-stock: do undo']),
  },
];
