/**
 * The proof that the tests can fail: a scenario that the library as built passes must fail on the library with one
 * mechanism taken out. The plays of a scenario run side by side, because most of their time is waiting.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { buildMutant, copyBuild } from './build-copy.js';
import type { Mutant } from './mutant.js';
import type { Claim, Scenario } from './scenario.js';
import { Stage } from './scenario-stage.js';

/** Plays every scenario on the unchanged build and on each of its mutants. `set` names the spec file's copies and sandboxes. */
export function playAll(set: string, scenarios: readonly Scenario[]): void {
  let asBuilt: string;

  beforeAll(() => {
    asBuilt = copyBuild(set);
  });

  for (const scenario of scenarios) {
    describe(scenario.promise, () => {
      test.concurrent('the unchanged build keeps this promise', () =>
        play(scenario, { name: `${set}_0`, root: asBuilt }, (claim) => claim()));

      for (const [index, mutant] of scenario.mutants.entries()) {
        test.concurrent(`the mutant ${mutant.name} breaks it: ${mutant.does}, so ${mutant.breaks}`, () =>
          play(scenario, { name: `${set}_${index + 1}`, root: buildMutant(asBuilt, mutant) }, async (claim) => {
            await expect(claim(), 'the mutant lives: the claim holds').rejects.toThrow(mutant.foundBy);
          }));
      }

      const { pair, mutants } = scenario;
      if (pair) test('the edits of the pair together are one of the mutants', () => areTogetherIn(mutants, pair));
      for (const [index, mutant] of (pair ?? []).entries()) {
        test.concurrent(`the mutant ${mutant.name} alone is hidden by its partner: ${mutant.does}`, () =>
          play(scenario, { name: `${set}_pair_${index}`, root: buildMutant(asBuilt, mutant) }, (claim) => claim()));
      }
    });
  }
}

function areTogetherIn(mutants: readonly Mutant[], pair: readonly Mutant[]): void {
  expect(mutants.map(({ edits }) => edits)).toContainEqual(pair.flatMap(({ edits }) => edits));
}

/** The claim is checked while the apps run, because it may wait for an effect. */
async function play(
  scenario: Scenario,
  { name, root }: { name: string; root: string },
  look: (claim: Claim) => Promise<void>,
): Promise<void> {
  const stage = await Stage.open(name, root);
  try {
    await look(await scenario.play(stage));
  } finally {
    await stage.close();
  }
}
