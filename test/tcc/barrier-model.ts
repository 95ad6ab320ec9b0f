/**
 * The barrier as a model, and calls that arrive in any order and any number, several at once. The real barrier must answer
 * like the model for some order of the simultaneous calls, and the effects must be the model's.
 */
import { randomUUID } from 'node:crypto';
import type { Type } from '@nestjs/common';
import fc from 'fast-check';
import { z } from 'zod';
import type { Branch } from '../../libs/dtx/src/tcc/tcc-tables.js';
import { write } from './effect-table.js';
import { type Library, type LittleApp, participantOf } from './little-app.js';

type Phase = 'try' | 'confirm' | 'cancel';
type Answer = 'ok' | 'refused' | 'illegal';

/** Calls in waves. The calls of one wave are simultaneous, and the next wave starts when all have been answered. */
export interface Arrivals {
  readonly waves: Phase[][];
  /** The participant says no to its Try. */
  readonly isPoor: boolean;
  readonly withoutTry: boolean;
  /** Instances of two versions take turns, so a Try that changes nothing any more may get either answer. */
  readonly isMixed?: boolean;
}

export const arrivals: fc.Arbitrary<Arrivals> = fc.record({
  waves: fc.array(fc.array(fc.constantFrom<Phase>('try', 'try', 'confirm', 'cancel'), { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 4,
  }),
  isPoor: fc.boolean(),
  withoutTry: fc.boolean(),
});

interface Model {
  readonly first: 'none' | 'tried' | 'blocked';
  readonly second: 'none' | 'confirm' | 'cancel';
  /** Which business methods have had their effect, in order. */
  readonly effects: string;
}

/** One call after the other, by the table of the hazards. */
function step(
  model: Model,
  phase: Phase,
  { isPoor, withoutTry, isMixed = false }: Arrivals,
): [Model, Answer | 'ok or refused'] {
  const { first, second, effects } = model;
  if (phase === 'try') {
    if (isMixed && first === 'tried' && second !== 'cancel') return [model, 'ok or refused'];
    if (first === 'blocked' || second !== 'none') return [model, 'refused'];
    if (first === 'tried') return [model, 'ok'];
    return isPoor ? [model, 'refused'] : [{ ...model, first: 'tried', effects: `${effects} try` }, 'ok'];
  }
  if (second !== 'none') return [model, second === phase ? 'ok' : 'illegal'];
  if (phase === 'confirm') {
    if (first !== 'tried') return [model, 'illegal'];
    return [{ ...model, second: 'confirm', effects: `${effects} confirm` }, 'ok'];
  }
  const isCalled = first === 'tried' || withoutTry;
  const after = { first: first === 'tried' ? first : 'blocked', second: 'cancel' } as const;
  return [{ ...after, effects: isCalled ? `${effects} cancel` : effects }, 'ok'];
}

/** Every model that some order of the wave reaches with these answers. */
function explain(
  models: readonly Model[],
  wave: readonly Phase[],
  answers: readonly Answer[],
  given: Arrivals,
): Model[] {
  const found = new Map<string, Model>();
  const go = (model: Model, left: readonly number[]): void => {
    if (left.length === 0) found.set(JSON.stringify(model), model);
    for (const index of left) {
      const [next, answer] = step(model, wave[index]!, given);
      const told = answers[index]!;
      if (answer === told || (answer === 'ok or refused' && told !== 'illegal'))
        go(
          next,
          left.filter((one) => one !== index),
        );
    }
  };
  for (const model of models)
    go(
      model,
      wave.map((_, index) => index),
    );
  return [...found.values()];
}

const args = z.object({ isPoor: z.boolean() });

/** Two participants that write down each effect, in the transaction that they are given. */
export function recorders(library: Library): Type[] {
  return [false, true].map((withoutTry) => {
    const name = withoutTry ? 'payment.always' : 'payment.tried';
    return participantOf(library, library.decorators.defineParticipant({ name, version: 1, args }), {
      withoutTry,
      async try(tx, { isPoor }: z.infer<typeof args>, { gid }) {
        await write(tx, gid, 'try');
        if (isPoor) throw new library.Rejected('POOR');
        return { of: gid };
      },
      async confirm(tx, _, { gid, data }) {
        if (data.of !== gid) throw new Error('Confirm does not see what Try returned');
        await write(tx, gid, 'confirm');
      },
      async cancel(tx, _, { gid }) {
        await write(tx, gid, 'cancel');
      },
    });
  });
}

/** Makes one call of the transaction that is played. */
export type Caller = (
  branch: Branch,
  about: { gid: string; phase: Phase },
) => Promise<{ verdict: string; reason?: string | undefined }>;

/** A call that has lost to others. It was rolled back, and the model knows only calls with an outcome. */
const LOCKED = /Deadlock found|Lock wait timeout/;

async function withOutcome(call: Caller, ...given: Parameters<Caller>): ReturnType<Caller> {
  const answer = await call(...given);
  return LOCKED.test(answer.reason ?? '') ? withOutcome(call, ...given) : answer;
}

/** Makes the calls, by default from `app` itself. Returns the first contradiction, or null. */
export async function play(
  app: LittleApp,
  given: Arrivals,
  call: Caller = (branch, about) => app.calls.call(branch, about, 20_000),
): Promise<string | null> {
  const gid = randomUUID();
  const participant = given.withoutTry ? 'payment.always' : 'payment.tried';
  const branch = { branch: 0, participant, version: 1, args: { isPoor: given.isPoor } };
  let models: Model[] = [{ first: 'none', second: 'none', effects: '' }];
  const seen: string[] = [];
  for (const wave of given.waves) {
    const answered = await Promise.all(wave.map((phase) => withOutcome(call, branch, { gid, phase })));
    const answers = answered.map(({ verdict }) => verdict as Answer);
    seen.push(answered.map(({ verdict, reason = '' }, index) => `${wave[index]}:${verdict} ${reason}`).join('+'));
    models = explain(models, wave, answers, given);
    if (models.length === 0) return `no order explains ${seen.join(', then ')}`;
  }
  const rows: Array<{ phase: string }> = await app.source.query('SELECT phase FROM effect WHERE gid = ? ORDER BY n', [
    gid,
  ]);
  const effects = rows.map(({ phase }) => ` ${phase}`).join('');
  if (models.some((model) => model.effects === effects)) return null;
  return `effects "${effects}" after ${seen.join(', then ')}; explained: ${models.map((model) => `"${model.effects}"`)}`;
}
