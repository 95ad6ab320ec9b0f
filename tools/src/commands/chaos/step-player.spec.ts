import { expect, test } from 'vitest';
import type { Step } from './schedule.js';
import type { Stage } from './stage.js';
import { StepPlayer } from './step-player.js';

const MEMORY = 'the broker is short of memory';
const DISK = 'the disk of the broker is full';
const step = (n: number, nemesis: string, atMs: number): Step => ({ n, nemesis, atMs, lastsMs: 10, target: {} });

/** A player whose broker takes this long to raise an alarm. */
function playerWith({ alarmMs }: { alarmMs: number }) {
  const calls: string[] = [];
  const broker = {
    exhaust: async (resource: string) => {
      calls.push(`exhaust ${resource}`);
      await new Promise((resolve) => setTimeout(resolve, alarmMs));
    },
    provide: async (resource: string) => void calls.push(`provide ${resource}`),
  };
  const stage = { byApp: {}, behind: { broker } } as unknown as Stage;
  const said: string[] = [];
  const player = new StepPlayer(stage, { say: (line) => said.push(line), signal: new AbortController().signal });
  return { player, calls, said };
}

test('each fault begins and ends at its time', async () => {
  const { player, calls } = playerWith({ alarmMs: 1 });
  await player.play([step(1, MEMORY, 0), step(2, DISK, 60)], { endMs: 80 });
  expect(calls).toEqual(['exhaust memory', 'provide memory', 'exhaust disk', 'provide disk']);
  expect(player).toMatchObject({ begun: { [MEMORY]: 1, [DISK]: 1 }, failed: {} });
});

test('a fault whose target is still broken is left out, since the end of one would end the other', async () => {
  const { player, calls, said } = playerWith({ alarmMs: 100 });
  await player.play([step(1, MEMORY, 0), step(2, DISK, 30)], { endMs: 40 });
  expect(calls).toEqual(['exhaust memory', 'provide memory']);
  expect(player).toMatchObject({ begun: { [MEMORY]: 1 }, failed: { [DISK]: 1 } });
  expect(said.at(-1)).toContain('#2  could not be begun: the fault before it still lasts');
});
