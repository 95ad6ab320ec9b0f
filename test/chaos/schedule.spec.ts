import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NEMESES } from '../../tools/src/commands/chaos/nemeses.js';
import { scheduleOf } from '../../tools/src/commands/chaos/schedule.js';
import { ROOT } from '../../tools/src/infra-files.js';

const of = (seed: number) => scheduleOf({ seed, minutes: 2, instances: 3 });
const seeds = Array.from({ length: 100 }, (_, seed) => seed);

test('a seed gives the same accidents each time, another seed gives others', () => {
  expect(of(7)).toEqual(of(7));
  expect(of(7)).not.toEqual(of(8));
});

test('every kind of accident happens, and the end of a run is left whole', () => {
  const all = seeds.flatMap(of);
  expect(new Set(all.map(({ nemesis }) => nemesis))).toEqual(new Set(NEMESES.map(({ name }) => name)));
  expect(Math.max(...all.map(({ atMs }) => atMs))).toBeLessThanOrEqual(110_000);
});

test.each(['proof.md', 'proof.zh-CN.md'])('docs/%s lists every kind of accident', (page) => {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8');
  const [, table] = /<!-- chaos:faults -->\n([\s\S]*)<!-- \/chaos:faults -->/.exec(text)!;
  const listed = [...table!.matchAll(/^\| ([^|]+?) \|/gm)].map(([, name]) => name!).slice(2);
  expect(listed.sort()).toEqual(NEMESES.map(({ name }) => name).sort());
});

test('a clock, an alarm and a rolling restart have their targets', () => {
  const all = seeds.flatMap(of);
  const targetsOf = (nemesis: string) => all.find((step) => step.nemesis === nemesis)!.target;
  expect(targetsOf('a clock that is 10 minutes slow')).toEqual({
    app: expect.any(String),
    instance: expect.any(Number),
  });
  expect(targetsOf('the broker is short of memory')).toEqual({});
  expect(targetsOf('a rolling restart of an app')).toEqual({ app: expect.any(String) });
});

test('at most three things are broken at once, and none of them twice', () => {
  for (const steps of seeds.map(of)) {
    for (const { atMs } of steps) {
      const running = steps.filter((step) => step.atMs <= atMs && step.atMs + step.lastsMs > atMs);
      const targets = running.map(({ nemesis, target }) => [NEMESES.find(({ name }) => name === nemesis)?.on, target]);
      expect(running.length).toBeLessThanOrEqual(3);
      expect(new Set(targets.map((one) => JSON.stringify(one))).size).toBe(running.length);
    }
  }
});

test('what the servers do not allow is left out', () => {
  const steps = scheduleOf({ seed: 1, minutes: 5, instances: 1, can: ({ on }) => on === 'path' });
  expect(steps.length).toBeGreaterThan(20);
  expect(steps.every(({ target }) => target.path !== undefined && target.instance === 0)).toBe(true);
});
