// Scenarios of single calls: in any order, and again after a refusal.
import { expect } from 'vitest';
import { effect, librariesOf } from '../saga/saga-apps.js';
import { createEffects } from '../saga/saga-databases.js';
import { callsOf, stageOn } from '../saga/stage.js';
import type { Claim } from './scenario.js';
import type { Stage } from './scenario-stage.js';

export type SagaStage = ReturnType<typeof stageOn>;
type Phase = 'do' | 'undo';

export const CALL_MS = 20_000;
const LENGTH_MAX = 4;
const INCARNATION = 'a1'.repeat(8);
export async function openSagas({ sandbox, root, keep }: Stage): Promise<SagaStage> {
  await createEffects(sandbox);
  const stage = keep(stageOn(() => sandbox, librariesOf(root)));
  await stage.start();
  return stage;
}

/** Calls the step that takes the goods, without a saga. */
function callerOf(stage: SagaStage) {
  const calls = callsOf(stage.order);
  const { hold, purchase } = stage.contracts;
  return (gid: string, phase: Phase) => {
    const about = {
      gid,
      incarnation: INCARNATION,
      saga: purchase.name,
      since: new Date().toISOString(),
      phase,
    } as const;
    const args = phase === 'do' ? { sku: 'book' } : undefined;
    return calls.call(hold as never, { ...about, kind: 'compensable', args }, CALL_MS);
  };
}

/** Every order of up to four calls. */
function orders(length = LENGTH_MAX): Phase[][] {
  if (length === 0) return [[]];
  const shorter = orders(length - 1);
  return [
    [],
    ...shorter.flatMap((one): Phase[][] => [
      ['do', ...one],
      ['undo', ...one],
    ]),
  ].filter((one, index, all) => all.findIndex((other) => other.join() === one.join()) === index);
}

/** A Do has its effect if nothing was before it, and the first Undo after it takes that back. */
function wantedOf(phases: readonly Phase[], gid: string): string[] {
  if (phases[0] !== 'do') return [];
  return phases.includes('undo') ? ['hold', `put back lot of ${gid}`] : ['hold'];
}

/** Each call is sent twice at once. */
export async function anyOrder(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  const call = callerOf(stage);
  return async () => {
    for (const phases of orders()) {
      const gid = `arrives-${phases.join('-')}`;
      for (const phase of phases) await Promise.all([call(gid, phase), call(gid, phase)]);
      const effects = await stage.effects('inventory', gid);
      expect(effects, `calls of a step that arrive in any order have other effects: ${phases}`).toEqual(
        wantedOf(phases, gid),
      );
    }
  };
}

/** A pivot that was refused arrives again, when it could succeed. */
export async function refusedOnce(scene: Stage): Promise<Claim> {
  const stage = await openSagas(scene);
  const { Rejected } = stage.order.libraries.library;
  let isPoor = true;
  const gid = await stage.begin({
    pay: {
      do: async (tx, _, { gid }) => {
        if (isPoor) throw new Rejected('INSUFFICIENT_FUNDS');
        await effect(tx, gid, 'paid');
      },
    },
  });
  await stage.untilIs(gid, 'COMPENSATED');
  isPoor = false;
  await stage.callLate(gid, 'pay');
  return async () => {
    expect(await stage.effects('payment', gid), 'effects of a Do that was refused').toEqual([]);
  };
}
