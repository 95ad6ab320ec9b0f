import { expect, test } from 'vitest';
import { explore, type Model } from './explorer.js';
import type { Process } from './process.js';
import { World } from './world.js';

/** A model of one process, without rules of its own. */
const modelOf = (name: string, program: (self: Process) => Promise<void>): Model => ({
  name,
  begin: () => {
    const world = new World({ crashes: 0, faults: 0 });
    world.spawn(name, program);
    return world;
  },
  wrong: () => undefined,
  wrongAtEnd: () => undefined,
});

const go = (self: Process, value: number) =>
  self.step({ label: `step ${value}`, isEnabled: () => true, take: () => ({ value }) });

test.each([
  [{ statesMax: 50, cpuSecondsMax: 60 }, '50 states'],
  [{ statesMax: 1e9, cpuSecondsMax: 0.2 }, '0.2 seconds of CPU'],
])('a model with ever new states stops at its bound %o', async (bounds, said) => {
  const counter = modelOf('counter', async (self) => {
    for (let at = 0; ; at++) await go(self, at);
  });
  await expect(explore(counter, bounds)).rejects.toThrow(`counter has no end within ${said}`);
});

test('a process that goes round without end is found', async () => {
  const round = modelOf('round', async (self) => {
    await go(self, 1);
    for (;;) {
      self.forget();
      await go(self, 2);
    }
  });
  expect(await explore(round)).toMatchObject({
    states: 1,
    ends: 0,
    violation: { what: 'the processes go on without end', trace: ['round: step 1'] },
  });
});
