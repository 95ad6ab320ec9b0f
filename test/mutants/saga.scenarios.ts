import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { effect } from '../saga/saga-apps.js';
import type { Script } from '../saga/stage.js';
import {
  answeredOnly,
  cancelledAtPivot,
  doneLost,
  doUnrecorded,
  lastStepUnfenced,
  markUnfenced,
  pivotMarkedBlindly,
  refusalForgotten,
  undoAgain,
  undoneInOrder,
  undoUnrecorded,
  unfenced,
  unfencedByHand,
} from './saga.mutants.js';
import { anyOrder, CALL_MS, openSagas, refusedOnce, type SagaStage } from './saga-calls.scenarios.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

const fail = () => {
  throw new Error('no answer');
};

/** The way that the purchase ended, by its effects. */
async function endOf(stage: SagaStage, gid: string): Promise<'paid' | 'put back' | object> {
  await stage.untilOver(gid);
  const [paid, goods] = await Promise.all([stage.effects('payment', gid), stage.effects('inventory', gid)]);
  const isPutBack = goods.length % 2 === 0;
  return paid.length === 1 && !isPutBack ? 'paid' : paid.length === 0 && isPutBack ? 'put back' : { paid, goods };
}

const ends = (script: (stage: SagaStage) => Script, wanted: 'paid' | 'put back') => async (scene: Stage) => {
  const stage = await openSagas(scene);
  const gid = await stage.begin(script(stage));
  const claim: Claim = async () => {
    expect(await endOf(stage, gid), 'effects of a purchase that ended').toBe(wanted);
  };
  return claim;
};

/** The answer to the pivot is lost, and then its deadline passes. */
async function pivotUnanswered(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  let runs = 0;
  const done = async (_: unknown, { gid }: { gid: string }) => {
    if (++runs === 1) await stage.passDeadline(gid);
    // The saga calls its pivot once more before it sends the fence.
    if (runs <= 2) fail();
  };
  const gid = await stage.begin({ pay: { done } });
  return async () => {
    expect(await endOf(stage, gid), 'effects of a purchase that ended').toBe('paid');
    expect(runs, 'runs of @Done').toBe(3);
  };
}

/** An operator rejects a pivot that has committed, and whose answers were lost. */
async function pivotRejected(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  let isLost = true;
  const done = () => {
    if (isLost) fail();
  };
  const gid = await stage.begin({ pay: { done } });
  await stage.untilIs(gid, 'PARKED');
  isLost = false;
  await stage.order.resolve(gid, 'reject');
  return async () => {
    const isOver = async () => (await stage.rowOf(gid))?.direction !== 'PIVOT';
    await until('the app of the pivot was asked', isOver);
    await until('the saga can go on', async () => (await stage.order.retry(gid)) === 'done').catch(() => {});
    expect(await endOf(stage, gid), 'effects of a purchase that ended').toBe('paid');
  };
}

const cancelAtPivot = ends(
  (stage) => ({
    pay: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'paid');
      },
    },
  }),
  'paid',
);

const cancelBeforePivot = ends(
  (stage) => ({
    hold: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
    },
  }),
  'put back',
);

/** A saga without a pivot, whose process comes back from the last step after a cancel. */
async function cancelAtLastStep(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  const isOver = async (gid: string) => (await stage.rowOf(gid))?.state === 'COMPENSATED';
  let isFirst = true;
  const gid = await stage.book({
    hold: {
      do: async (tx, _, { gid }) => {
        await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
      undo: async (tx, _, { gid }) => {
        if (isFirst) {
          isFirst = false;
          await until('another process ends it', () => isOver(gid), { withinMs: 1_800 }).catch(() => {});
          fail();
        }
        await effect(tx, gid, 'put back');
      },
    },
  });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    const effects = await stage.effects('inventory', gid);
    expect(effects, 'effects of a booking that was cancelled at its last step').toEqual(['hold', 'put back']);
  };
}

/** A saga that is cancelled before its last step, which commits together with the final mark. */
async function cancelBeforeLastStep(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  let isReading = false;
  const gid = await stage.stay({
    hold: {
      do: async (tx, _, { gid }) => {
        await until('the caller waits', () => isReading);
        await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
    },
  });
  const outcome = stage.order.sagas.outcome(gid, CALL_MS);
  isReading = true;
  return async () => {
    const { status } = (await outcome)!;
    expect(status, 'outcome of a stay that was cancelled before its last step').toBe('COMPENSATED');
  };
}

async function withoutAnswer(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  const gid = await stage.begin({ hold: { done: fail } });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    const wanted = ['hold', `put back lot of ${gid}`];
    expect(await stage.effects('inventory', gid), 'effects of a step without an answer').toEqual(wanted);
  };
}

async function undoOrder(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  const undone: string[] = [];
  const { Rejected } = stage.order.libraries.library;
  const gid = await stage.begin({
    place: { undo: () => void undone.push('place') },
    hold: { undo: () => void undone.push('hold') },
    pay: { do: () => Promise.reject(new Rejected('INSUFFICIENT_FUNDS')) },
  });
  return async () => {
    await stage.untilIs(gid, 'COMPENSATED');
    expect(undone, 'order of the undone steps').toEqual(['hold', 'place']);
  };
}

export const sagaScenarios: Scenario[] = [
  {
    promise: 'calls of a step arrive in any order and any number, and each has its effect once or not at all',
    mutants: [doUnrecorded, undoUnrecorded, undoAgain],
    play: anyOrder,
  },
  { promise: 'a Do that was refused stays refused', mutants: [refusalForgotten], play: refusedOnce },
  { promise: 'a pivot that has committed unseen is found', mutants: [unfenced, doneLost], play: pivotUnanswered },
  { promise: 'a pivot that has committed is not rejected', mutants: [unfencedByHand], play: pivotRejected },
  { promise: 'a cancel does not turn a saga at its pivot', mutants: [cancelledAtPivot], play: cancelAtPivot },
  { promise: 'the pivot of a cancelled saga never runs', mutants: [pivotMarkedBlindly], play: cancelBeforePivot },
  { promise: 'a saga is not over while one step is open', mutants: [markUnfenced], play: cancelAtLastStep },
  {
    promise: 'a last step commits with the final mark of its saga or not at all',
    mutants: [lastStepUnfenced],
    play: cancelBeforeLastStep,
  },
  { promise: 'every step that may have run is undone', mutants: [answeredOnly], play: withoutAnswer },
  { promise: 'steps are undone in reverse order', mutants: [undoneInOrder], play: undoOrder },
];
