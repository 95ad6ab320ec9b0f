import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Progress } from '../../tools/src/commands/bench/bench-progress.js';
import { playRounds } from '../../tools/src/commands/bench/bench-run.js';
import { PEERS, peersPlan } from '../../tools/src/commands/bench/cases.js';
import { playCounting } from '../../tools/src/commands/bench/counting-pass.js';
import { preparePeers } from '../../tools/src/commands/bench/peers/peer-package.js';
import { Stage } from '../../tools/src/commands/bench/stage.js';
import { summarize } from '../../tools/src/commands/bench/summary.js';
import { servers } from '../fixtures/sandbox.js';

const INSTALL_BOUND_MS = 900_000;
const progress: Progress = { say: () => {}, step: () => {}, bar: () => {}, signal: new AbortController().signal };
let stage: Stage;

beforeAll(async () => {
  await preparePeers(PEERS, progress);
  stage = new Stage(() => {}, servers());
  await stage.start();
}, INSTALL_BOUND_MS);
afterAll(() => stage?.stop());

test('rounds measure every purchase of the peers, of the schemes beside them and of the naive shop', async () => {
  const { cases } = peersPlan(PEERS, { rounds: 1, warmUp: 4, purchases: 12 });
  const samples = await playRounds(stage, { rounds: 1, warmUp: 4, cases }, progress);
  expect(samples.map(({ of: { variant } }) => variant)).toEqual([
    'naive',
    'local-message',
    'nestjs-outbox',
    'tcc',
    'restate-saga',
  ]);
  const [, ...others] = summarize(samples, new Map());
  for (const { settledMs, answerMs, perPurchase, againstNaive } of others) {
    expect(settledMs.p50).toBeGreaterThanOrEqual(answerMs.p50);
    expect(perPurchase.commits).toBeGreaterThan(0);
    expect(againstNaive).toBeGreaterThan(0);
  }
});

test('the counting pass finds the statements of the saga, and the three messages of the other outbox', async () => {
  const counted = await playCounting(stage, PEERS, progress, { warmUp: 100, counted: 50, idleMs: 2_000 });
  const [outbox, saga] = [...counted.values()];
  expect(outbox!.messages).toBeCloseTo(3, 1);
  expect(outbox!.statements).toBeGreaterThan(12);
  expect(saga!.messages).toBe(0);
  // Order, stock with its row, money with its row, order: ten statements, four of which begin and end transactions.
  expect(saga!.statements).toBeGreaterThanOrEqual(9.5);
  expect(saga!.statements).toBeLessThan(14);
});
