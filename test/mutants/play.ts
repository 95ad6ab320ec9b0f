/**
 * The proof that the tests can fail: the library with one mechanism taken out must be found by a scenario that the
 * library as built passes. A scenario's plays run side by side, since most of their time is waiting.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { buildMutant, copyBuild } from './mutant.js';
import { type Claim, type Scenario, Stage } from './stage.js';

/** Plays every scenario on the build as it is, and on each of its mutants. `set` names the spec file's own copies and worlds. */
export function playAll(set: string, scenarios: readonly Scenario[]): void {
  let asBuilt: string;

  beforeAll(() => {
    asBuilt = copyBuild(set);
  });

  for (const scenario of scenarios) {
    describe(scenario.promise, () => {
      test.concurrent('holds in the build as it is', () =>
        play(scenario, { name: `${set}_0`, root: asBuilt }, (claim) => claim()));

      for (const [index, mutant] of scenario.mutants.entries()) {
        test.concurrent(`mutant ${mutant.name}: ${mutant.does}; ${mutant.breaks}`, () =>
          play(scenario, { name: `${set}_${index + 1}`, root: buildMutant(asBuilt, mutant) }, async (claim) => {
            await expect(claim(), 'the mutant lives: nothing has noticed').rejects.toThrow(mutant.foundBy);
          }));
      }
    });
  }
}

/** The claim is looked at while the apps run: what it waits for may still have to happen. */
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
