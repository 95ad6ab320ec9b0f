import { expect, test } from 'vitest';
import { Interrupted, OperatorError } from '../../cli/operator-error.js';
import { type Play, shrinkRun } from './shrink-run.js';

const settings = { seed: 7, minutes: 2, instances: 3, shrink: true };
const ORDER = '0199d7a4-0000-7000-8000-000000000001';
const broken = [{ invariant: 'an answer is kept', text: 'got CONFIRMED, which is CANCELLED', orderId: ORDER }];
const all = Array.from({ length: 12 }, (_, n) => n + 1);

async function run(
  isBroken: (steps: readonly number[]) => boolean,
  fails: (steps: readonly number[]) => void = () => {},
) {
  const said: string[] = [];
  const plays: Array<{ steps: readonly number[]; sandbox: string; isBroken: boolean }> = [];
  const shown: string[] = [];
  const play = async (only: readonly number[] | undefined, sandbox: string): Promise<Play & { sandbox: string }> => {
    const steps = only ?? all;
    fails(steps);
    plays.push({ steps, sandbox, isBroken: isBroken(steps) });
    return { steps, broken: isBroken(steps) ? broken : [], sandbox };
  };
  const show = ({ sandbox }: { sandbox: string }) => shown.push(sandbox);
  const code = await shrinkRun<Play & { sandbox: string }>({ say: (line) => said.push(line), settings, play, show });
  return { code, plays, shown, text: said.join('\n') };
}

test('the smallest part is printed with its command, its invariant and how to trace its purchase', async () => {
  const { code, text } = await run((steps) => steps.includes(4) && steps.includes(9));
  expect(code).toBe(1);
  expect(text).toContain('npm run chaos -- --seed 7 --minutes 2 --instances 3 --only 4,9');
  expect(text).toContain('an answer is kept: got CONFIRMED, which is CANCELLED');
  expect(text).toContain(`npm run trace -- ${ORDER} --of chaos`);
});

test('the sandbox of the smallest failure is kept while other parts are replayed', async () => {
  const { plays, shown } = await run((steps) => steps.includes(4));
  const last = plays.findLastIndex((one) => one.isBroken);
  expect(plays[last]!.steps).toEqual([4]);
  expect(shown).toEqual([plays[last]!.sandbox]);
  for (const later of plays.slice(last + 1)) expect(later.sandbox).not.toBe(plays[last]!.sandbox);
});

test('a schedule that holds is not shrunk', async () => {
  const { code, plays, text } = await run(() => false);
  expect(code).toBe(0);
  expect(plays).toHaveLength(1);
  expect(text).toMatch(/^nothing to shrink/);
});

test('a replay that does not start is left out, and Ctrl-C ends all of them', async () => {
  const { text } = await run(
    (steps) => steps.includes(4),
    (steps) => {
      if (steps.length === 6) throw new OperatorError('not ready within 120 s');
    },
  );
  expect(text).toContain('this replay says nothing: not ready within 120 s');
  expect(text).toContain('--only 4\n');
  const interrupted = run(
    () => true,
    (steps) => {
      if (steps.length < 12) throw new Interrupted('SIGINT');
    },
  );
  await expect(interrupted).rejects.toThrow(Interrupted);
});
