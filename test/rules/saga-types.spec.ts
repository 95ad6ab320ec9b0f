import { beforeAll, describe, expect, it } from 'vitest';
import { compilerProblems } from './compiler-problems.js';

/** A source without an expected error must compile, so that the others fail for their own reason only. */
const PRELUDE = `
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { defineSaga, defineSignal, defineStep, Do, Done, SagaStep, type SagaStepContext, Undo } from '../../libs/dtx/src/saga/index.js';

const take = defineStep({ name: 'inventory.take', version: 1, args: z.object({ sku: z.string(), quantity: z.int() }), result: z.object({ lot: z.string() }) });
const ship = defineStep({ name: 'order.ship', version: 1, args: z.object({ lot: z.string() }) });
const approval = defineSignal({ name: 'approval', payload: z.object({ by: z.string() }) });
interface Take { sku: string; quantity: number }
`;
const saga = (steps: string) =>
  `defineSaga({ name: 'order.purchase', version: 1, input: z.object({ sku: z.string() }), deadlineMs: 1_000, steps: ({ compensable, pivot, waitFor }) => [${steps}] });`;

/** Title, source, and the expected error if there is one. */
const sources: Array<[string, string, RegExp?]> = [
  [
    'a class with @Do, @Undo and @Done as in the contract compiles',
    '@SagaStep(take) class A { @Do(take) async a(tx: EntityManager, { sku }: Take) { return { lot: sku }; } @Undo(take) b(tx: EntityManager, args: Take, { result }: SagaStepContext<{ lot: string }>) { return result.lot; } @Done(take) c(args: Take) {} }',
  ],
  [
    '@Do with another argument is refused',
    '@SagaStep(take) class A { @Do(take) a(tx: EntityManager, args: { sku: number }) { return { lot: "" }; } }',
    /Types of property 'sku' are incompatible/,
  ],
  [
    '@Do with another result than its contract is refused',
    '@SagaStep(take) class A { @Do(take) async a() { return { lot: 7 }; } }',
    /Type 'number' is not assignable to type 'string'/,
  ],
  [
    '@Do that returns nothing against its contract is refused',
    '@SagaStep(take) class A { @Do(take) async a() {} }',
    /Type 'Promise<void>' is not assignable to type .*lot: string/,
  ],
  [
    '@Undo that expects another result of Do is refused',
    '@SagaStep(take) class A { @Undo(take) b(tx: EntityManager, args: Take, step: SagaStepContext<{ lot: number }>) {} }',
    /Type 'string' is not assignable to type 'number'/,
  ],
  [
    '@Undo with another argument is refused',
    '@SagaStep(take) class A { @Undo(take) b(tx: EntityManager, args: { shelf: string }) {} }',
    /Property 'shelf' is missing/,
  ],
  [
    'a saga whose arguments fit its steps compiles',
    saga(
      'compensable(take, (s) => ({ sku: s.input.sku, quantity: 1 })), waitFor(approval, { withinMs: 1, refusal: ({ by }) => by }), pivot(ship, (s) => ({ lot: s.result(take).lot + s.signal(approval).by }))',
    ),
  ],
  [
    'a saga whose arguments do not fit a step is refused',
    saga('compensable(take, (s) => ({ sku: s.input.sku, quantity: "1" })), pivot(ship, (s) => ({ lot: "" }))'),
    /Type 'string' is not assignable to type 'number'/,
  ],
  [
    'a saga that reads what its input does not have is refused',
    saga('pivot(ship, (s) => ({ lot: s.input.lot }))'),
    /Property 'lot' does not exist/,
  ],
];

let problems: string[][];

beforeAll(() => {
  problems = compilerProblems(sources.map(([, source]) => PRELUDE + source));
}, 120_000);

describe('the compiler', () => {
  it.each(sources.map(([title, , error], index) => ({ title, error, index })))('$title', ({ error, index }) => {
    const found = problems[index]!;
    if (error === undefined) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringMatching(error)]);
  });
});
