/**
 * The proof that the tests can fail: the library with one mechanism taken out must be found by a scenario that the
 * library as built passes. A scenario's plays run side by side, since most of their time is waiting.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { buildMutant, copyBuild } from './mutant.js';
import { receiverScenarios } from './receiver.scenarios.js';
import { senderScenarios } from './sender.scenarios.js';
import { type Claim, type Scenario, Stage } from './stage.js';

let asBuilt: string;

beforeAll(() => {
  asBuilt = copyBuild();
});

for (const scenario of [...receiverScenarios, ...senderScenarios]) {
  describe(scenario.promise, () => {
    test.concurrent('holds in the build as it is', () => play(scenario, 0, asBuilt, (claim) => claim()));

    for (const [index, mutant] of scenario.mutants.entries()) {
      test.concurrent(`mutant ${mutant.name}: ${mutant.does}; ${mutant.breaks}`, () =>
        play(scenario, index + 1, buildMutant(mutant), async (claim) => {
          await expect(claim(), 'the mutant lives: nothing has noticed').rejects.toThrow(mutant.foundBy);
        }));
    }
  });
}

/** The claim is looked at while the apps run: what it waits for may still have to happen. */
async function play(
  scenario: Scenario,
  number: number,
  root: string,
  look: (claim: Claim) => Promise<void>,
): Promise<void> {
  const stage = await Stage.open(number, root);
  try {
    await look(await scenario.play(stage));
  } finally {
    await stage.close();
  }
}
