/** Cancels against pivots, from two instances. Each race has one winner, and the answer to the cancel names it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SagaCancel } from '../../libs/dtx/src/saga/index.js';
import type { SagaApp } from './saga-apps.js';
import type { useStage } from './stage.js';

type Stage = ReturnType<typeof useStage>;

const AT_ONCE = 20;

export interface Raced {
  readonly gid: string;
  readonly answer: SagaCancel | null;
  readonly state: string;
  /** Effects at the payment and the inventory app. */
  readonly paid: number;
  readonly held: number;
  readonly putBack: number;
}

export async function race(stage: Stage, second: SagaApp, races: number): Promise<Raced[]> {
  const spreadMs = await durationMs(stage);
  const done: Raced[] = [];
  while (done.length < races) {
    const batch = Math.min(AT_ONCE, races - done.length);
    done.push(
      ...(await Promise.all(
        Array.from({ length: batch }, (_, index) => one(stage, [stage.order, second][index % 2]!, spreadMs)),
      )),
    );
  }
  return done;
}

/** How long a batch of purchases takes on this machine, in milliseconds. The first one is slow, and cancels would come too late. */
async function durationMs(stage: Stage): Promise<number> {
  const batch = () => Promise.all(Array.from({ length: AT_ONCE }, async () => stage.untilOver(await stage.begin())));
  await batch();
  const since = performance.now();
  await batch();
  return performance.now() - since;
}

async function one(stage: Stage, canceller: SagaApp, spreadMs: number): Promise<Raced> {
  const gid = await stage.begin();
  await sleep(Math.random() * spreadMs);
  const answer = await canceller.cancel(gid);
  await stage.untilOver(gid);
  const [row, paid, inventory] = await Promise.all([
    stage.rowOf(gid),
    stage.effects('payment', gid),
    stage.effects('inventory', gid),
  ]);
  const held = inventory.filter((what) => what === 'hold').length;
  return { gid, answer, state: row!.state, paid: paid.length, held, putBack: inventory.length - held };
}

/** The races whose end contradicts the answer to the cancel, or that ended both ways or neither. */
export function contradictions(races: readonly Raced[]): Raced[] {
  return races.filter(({ answer, state, paid, held, putBack }) => {
    const isCancelled = state === 'COMPENSATED' && paid === 0 && held === putBack;
    const isDone = state === 'COMPLETED' && paid === 1 && held === 1 && putBack === 0;
    return !(answer === 'CANCELLING' ? isCancelled : isDone);
  });
}
