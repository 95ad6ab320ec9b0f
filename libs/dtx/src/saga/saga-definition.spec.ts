import { expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { KnownData } from './known-data.js';
import { fingerprintOf, longestMs } from './order-of-steps.js';
import { defineSaga, type SagaSteps } from './saga-definition.js';
import type { SagaEntry } from './saga-entries.js';
import { defineSignal, defineStep } from './step-contract.js';

const none = z.object({});
const step = (name: string) => defineStep({ name, version: 1, args: none });
const [a, b, c] = [step('one.a'), step('one.b'), step('two.c')];
const pay = defineStep({ name: 'two.pay', version: 1, args: z.object({ lot: z.string(), by: z.string() }) });
const takeStock = defineStep({
  name: 'inventory.take-stock',
  version: 1,
  args: z.object({ sku: z.string() }),
  result: z.object({ lot: z.string() }),
});
const approval = defineSignal({ name: 'approval', payload: z.object({ by: z.string() }) });

type Steps = (kinds: SagaSteps<{ sku: string }>) => ReadonlyArray<SagaEntry | readonly SagaEntry[]>;

const sagaOf = (steps: Steps, about: { name?: string; version?: number; deadlineMs?: number } = {}) =>
  defineSaga({
    name: 'order.purchase',
    version: 1,
    input: z.object({ sku: z.string() }),
    deadlineMs: 60_000,
    ...about,
    steps,
  });
const made = () => ({});

it('a saga has its entries by groups, with its name and limit', () => {
  const saga = sagaOf(({ checking, compensable, pivot, retriable, waitFor }) => [
    checking(a, made),
    [compensable(b, made), compensable(takeStock, (s) => ({ sku: s.input.sku }))],
    waitFor(approval, { withinMs: 1_000 }),
    pivot(pay, (s) => ({ lot: s.result(takeStock).lot, by: s.signal(approval).by })),
    retriable(step('two.d'), made),
  ]);
  expect(saga.groups.map((group) => group.map(({ kind }) => kind))).toEqual([
    ['checking'],
    ['compensable', 'compensable'],
    ['wait'],
    ['pivot'],
    ['retriable'],
  ]);
  expect(longestMs(saga)).toBe(61_000);
});

it('the arguments of a step are typed by the input, by results and by signals', () => {
  sagaOf(({ pivot, waitFor, compensable }) => [
    compensable(takeStock, (s) => {
      expectTypeOf(s.input).toEqualTypeOf<{ sku: string }>();
      return { sku: s.input.sku };
    }),
    waitFor(approval, { withinMs: 5, refusal: ({ by }) => (by === 'nobody' ? 'NOT_APPROVED' : null) }),
    // @ts-expect-error the contract wants sku
    compensable({ ...takeStock, name: 'inventory.more' }, () => ({ lot: 'a' })),
    pivot(c, (s) => {
      expectTypeOf(s.result(takeStock)).toEqualTypeOf<{ lot: string }>();
      expectTypeOf(s.signal(approval)).toEqualTypeOf<{ by: string }>();
      return {};
    }),
  ]);
});

const refused: Array<[string, Steps, RegExp]> = [
  ['without a step', () => [], /has no step; give it at least one/],
  ['with an empty group', ({ compensable }) => [compensable(a, made), []], /a group is empty; remove it/],
  [
    'with two pivots',
    ({ pivot }) => [pivot(a, made), pivot(b, made)],
    /two pivots, one\.a and one\.b; .* make the others compensable before it or retriable after it/,
  ],
  [
    'with a pivot in a group',
    ({ pivot, compensable }) => [[pivot(a, made), compensable(b, made)]],
    /the pivot one\.a is in a group; let it stand alone/,
  ],
  [
    'with a wait in a group',
    ({ waitFor, compensable }) => [[compensable(a, made), waitFor(approval, { withinMs: 5 })]],
    /waitFor of signal approval is in a group; let it stand alone/,
  ],
  [
    'with a compensable step after the pivot',
    ({ pivot, compensable }) => [pivot(a, made), compensable(b, made)],
    /compensable step one\.b after the pivot; .* move the step before the pivot or make it retriable/,
  ],
  [
    'with a checking step after the pivot',
    ({ pivot, checking }) => [pivot(a, made), checking(b, made)],
    /checking step one\.b after the pivot; .* move the step before the pivot/,
  ],
  [
    'with a retriable step before the pivot',
    ({ pivot, retriable }) => [retriable(a, made), pivot(b, made)],
    /retriable step one\.a before the pivot; .* make it compensable or move it after the pivot/,
  ],
  [
    'with a retriable step and no pivot',
    ({ compensable, retriable }) => [compensable(a, made), retriable(b, made)],
    /retriable step one\.b without a pivot; .* put a pivot before it/,
  ],
  [
    'with a step twice',
    ({ compensable, pivot }) => [compensable(a, made), pivot(a, made)],
    /one\.a is in it twice; .* define a second step with a name of its own/,
  ],
  [
    'with a signal twice',
    ({ waitFor }) => [waitFor(approval, { withinMs: 1 }), waitFor(approval, { withinMs: 1 })],
    /signal approval is in it twice/,
  ],
  [
    'with a time limit of a wait after the pivot',
    ({ pivot, waitFor }) => [pivot(a, made), waitFor(approval, { withinMs: 5 })],
    /waitFor\(approval\) with withinMs after the pivot; .* remove withinMs or move it before the pivot/,
  ],
  [
    'with a refusal of a wait after the pivot',
    ({ pivot, waitFor }) => [pivot(a, made), waitFor(approval, { refusal: () => 'NO' })],
    /waitFor\(approval\) with refusal after the pivot; .* move it before the pivot/,
  ],
  [
    'with a wait before the pivot and no time limit',
    ({ pivot, waitFor }) => [waitFor(approval), pivot(a, made)],
    /waitFor\(approval\) without withinMs before the pivot; .* add withinMs/,
  ],
  [
    'with a wait of no time',
    ({ waitFor }) => [waitFor(approval, { withinMs: 0 })],
    /withinMs is 0; use 1 to \d+ milliseconds/,
  ],
];

it.each(refused)('a saga %s is refused', (_, steps, error) => {
  expect(() => sagaOf(steps)).toThrow(/^saga order\.purchase v1: /);
  expect(() => sagaOf(steps)).toThrow(error);
});

it.each([
  [{ name: 'purchase' }, /malformed name of a saga: "purchase"; use <app>\.<name>/],
  [{ version: 0 }, /invalid version of saga order\.purchase: 0; use 1, 2/],
  [{ deadlineMs: Number.NaN }, /deadlineMs is NaN; use 100 to/],
  [{ deadlineMs: 99 }, /deadlineMs is 99; use 100 to/],
])('a saga with %j is refused', (about, error) => {
  expect(() => sagaOf(({ compensable }) => [compensable(a, made)], about)).toThrow(error);
});

it.each([
  [{ name: 'stock', version: 1, args: none }, /malformed name of a saga step: "stock"; use <app>\.<name>/],
  [{ name: 'order.answers', version: 1, args: none }, /reserved name of a saga step: "order\.answers"/],
  [{ name: 'order.a', version: 1.5, args: none }, /invalid version of saga step order\.a: 1\.5; use 1, 2/],
  [{ name: 'order.a', version: 1, args: {} as never }, /saga step order\.a: args is not a Standard Schema v1/],
  [{ name: 'order.a', version: 1, args: none, result: {} as never }, /order\.a: result is not a Standard Schema v1/],
])('the step %j is refused', (contract, error) => {
  expect(() => defineStep(contract)).toThrow(error);
});

it('a signal with a malformed name is refused', () => {
  expect(() => defineSignal({ name: 'Approval', payload: none })).toThrow(
    /malformed name of a saga signal: "Approval"; use 1 to 32/,
  );
});

it('the fingerprint changes with the order, the kind, the group and the version of a step, and not with the limits', () => {
  const base = sagaOf(({ compensable }) => [compensable(a, made), compensable(b, made)]);
  const others: Steps[] = [
    ({ compensable }) => [compensable(b, made), compensable(a, made)],
    ({ compensable, checking }) => [compensable(a, made), checking(b, made)],
    ({ compensable }) => [[compensable(a, made), compensable(b, made)]],
    ({ compensable }) => [compensable(a, made), compensable(defineStep({ ...b, version: 2 }), made)],
    ({ compensable }) => [compensable(a, made), compensable(b, made), compensable(c, made)],
  ];
  const prints = others.map((steps) => fingerprintOf(sagaOf(steps)));
  expect(new Set([fingerprintOf(base), ...prints]).size).toBe(6);
  expect(
    fingerprintOf(sagaOf(({ compensable }) => [compensable(a, () => ({})), compensable(b, made)], { deadlineMs: 100 })),
  ).toBe(fingerprintOf(base));
});

it('the data of a saga gives a copy of each value, and refuses one that is not there yet', () => {
  const saga = sagaOf(({ compensable }) => [compensable(takeStock, (s) => s.input)]);
  const data = new KnownData(saga, 'g', { sku: 'x' }, { 'signal approval': { by: 'ann' } });
  expect(() => data.result(takeStock)).toThrow(
    'saga order.purchase v1 has no result of step inventory.take-stock yet; read only results of groups before this step',
  );
  data.set('inventory.take-stock', { lot: 'L1' });
  data.result(takeStock).lot = 'changed';
  expect(data.result(takeStock)).toEqual({ lot: 'L1' });
  expect(data.signal(approval)).toEqual({ by: 'ann' });
  expect(JSON.parse(data.stored)).toEqual({ 'signal approval': { by: 'ann' }, 'inventory.take-stock': { lot: 'L1' } });
});

it('a stored result that does not fit the contract of this build is refused', () => {
  const saga = sagaOf(({ compensable }) => [compensable(takeStock, (s) => s.input)]);
  const data = new KnownData(saga, 'g', { sku: 1 }, { 'inventory.take-stock': {} });
  expect(() => data.result(takeStock)).toThrow(/result of saga step inventory\.take-stock v1 does not fit: lot/);
  expect(() => data.input).toThrow(/stored input does not fit saga order\.purchase v1: sku/);
});
