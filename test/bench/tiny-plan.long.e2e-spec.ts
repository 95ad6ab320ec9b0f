import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Progress } from '../../tools/src/commands/bench/bench-progress.js';
import { playRounds } from '../../tools/src/commands/bench/bench-run.js';
import type { Case, Variant } from '../../tools/src/commands/bench/cases.js';
import { playCounting } from '../../tools/src/commands/bench/counting-pass.js';
import { measure } from '../../tools/src/commands/bench/measure.js';
import { Stage } from '../../tools/src/commands/bench/stage.js';
import { summarize } from '../../tools/src/commands/bench/summary.js';
import { servers } from '../fixtures/sandbox.js';

const progress: Progress = { say: () => {}, step: () => {}, bar: () => {}, signal: new AbortController().signal };
const caseOf = (variant: Variant, notify: boolean): Case => ({
  variant,
  concurrency: 4,
  skus: 'many',
  notify,
  purchases: 12,
});
let stage: Stage;

beforeAll(async () => {
  stage = new Stage(() => {}, servers());
  await stage.start();
});
afterAll(() => stage?.stop());

test('rounds measure every purchase of every case, and compare it with the naive shop', async () => {
  const classic: Case = { ...caseOf('half-message', false), isClassic: true };
  const cases = [caseOf('naive', false), caseOf('local-message', true), caseOf('xa', false), classic];
  const samples = await playRounds(stage, { rounds: 2, warmUp: 4, cases }, progress);
  expect(samples.map(({ of }) => of)).toEqual([...cases, ...cases]);
  for (const { answerMs, settledMs } of samples) {
    expect([answerMs.length, settledMs.length]).toEqual([12, 12]);
    expect(settledMs.every((ms, n) => ms >= answerMs[n]!)).toBe(true);
  }
  const [naive, ...others] = summarize(samples, new Map());
  expect(naive!.perPurchase.statements).toBeGreaterThanOrEqual(7);
  for (const { perPurchase, againstNaive, settledPerSecond } of others) {
    expect(perPurchase.statements).toBeGreaterThan(7);
    expect(perPurchase.commits).toBeGreaterThan(0);
    expect(perPurchase.fsyncs).toBeGreaterThan(0);
    expect(againstNaive).toBeCloseTo(settledPerSecond / naive!.settledPerSecond);
  }
});

test('the steps by hand settle every purchase, with the statements of two messages more than the naive shop', async () => {
  const shop = await stage.open('bare');
  const { answerMs, settledMs, statements } = await measure({ ...caseOf('naive', false), purchases: 60 }, shop, stage);
  expect([answerMs.length, settledMs.length]).toEqual([60, 60]);
  expect(statements / 60).toBeGreaterThan(18);
  await shop.stop();
});

test('TCC and saga by hand settle every purchase before its answer, with a commit for each local transaction', async () => {
  const shop = await stage.open('bare');
  for (const [variant, least] of [['tcc', 6] as const, ['saga', 5] as const]) {
    const { answerMs, settledMs, commits } = await measure({ ...caseOf(variant, false), purchases: 60 }, shop, stage);
    expect(settledMs.every((ms, n) => ms - answerMs[n]! < 2)).toBe(true); // the clocks count whole milliseconds
    expect(commits / 60).toBeGreaterThanOrEqual(least);
  }
  await shop.stop();
});

test('the counting pass finds the seven statements and four messages of the naive purchase, each in a packet of its own', async () => {
  const counted = await playCounting(stage, ['naive'], progress, { warmUp: 100, counted: 50, idleMs: 500 });
  const [naive] = [...counted.values()];
  expect(naive!.messages).toBeCloseTo(4, 1);
  // A connection that no purchase has used yet prepares its statements first, with a packet for each.
  const shapes = naive!.shapes.filter(({ shape, perPurchase }) => perPurchase > 0 && !shape.startsWith('prepare '));
  expect(shapes.reduce((sum, { perPurchase }) => sum + perPurchase, 0)).toBeCloseTo(7, 1);
  expect(naive!.roundTrips).toBeGreaterThanOrEqual(7);
  expect(shapes.map(({ database }) => database).toSorted()).toEqual([
    'inventory',
    'order',
    'order',
    'payment',
    'payment',
    'payment',
    'payment',
  ]);
});
