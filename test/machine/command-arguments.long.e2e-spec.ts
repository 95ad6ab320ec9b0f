import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** Runs the built command as `scripts/run.mjs` does, without its installation and build. */
function run(command: string, args: readonly string[]): Promise<{ code: number; out: string; error: string }> {
  const main = join(ROOT, 'tools', 'dist', 'commands', `${command}.js`);
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: 60_000 }, (failure, out, error) =>
      resolve({ code: failure ? Number(failure.code) : 0, out, error }),
    );
  });
}

const COMMANDS = ['audit', 'bench', 'break', 'chaos', 'demo', 'failpoints', 'infra', 'sabotage', 'trace', 'xa-doctor'];

/** The command with its arguments, and what the error must name. */
const WRONG: ReadonlyArray<[string, RegExp]> = [
  ...COMMANDS.map((command): [string, RegExp] => [`${command} --nonsense`, /--nonsense/]),
  ['audit cars', /cars/],
  ['audit --of cars', /"cars".*demo or test/],
  ['bench cars', /"cars".*relay, latency/],
  ['bench --rows many', /--rows is "many".*10000 to 10000000/],
  ['bench --count cars', /"cars".*naive, local-message/],
  ['bench relay --count xa', /--count/],
  ['bench --peers --count xa', /--count/],
  ['bench --peer dtm', /"dtm".*nestjs-outbox, restate-saga/],
  ['break', /one failpoint/],
  ['break tcc.decided xa.decided', /one failpoint/],
  ['break tcc.decide', /unknown failpoint "tcc.decide".*tcc\.decided/],
  ['break tcc.decided --mode slow', /unknown mode "slow".*crash or pause/],
  ['chaos 7', /7/],
  ['chaos --seed x', /--seed is "x"/],
  ['chaos --minutes 0', /--minutes is "0".*1 to 600/],
  ['chaos --instances 10', /--instances is "10".*1 to 9/],
  ['demo once', /once/],
  ['failpoints xa', /xa/],
  ['infra', /up, down or status/],
  ['infra sideways', /"sideways"/],
  ['infra up test', /"up test"/],
  ['infra up --of', /--of/],
  ['infra up --of ../elsewhere', /"\.\.\/elsewhere" cannot name a set/],
  ['infra up --only cars', /"cars".*databases, rabbitmq, redis/],
  ['infra down --only redis', /--only is for up/],
  ['infra up --wipe', /--wipe is for down/],
  ['sabotage', /on or off/],
  ['sabotage money', /"money"/],
  ['sabotage cars on', /"cars on"/],
  ['sabotage money maybe', /"money maybe"/],
  ['trace', /one order id/],
  ['trace 1 2', /one order id/],
  ['trace 1 --of cars', /"cars".*demo or test/],
  ['xa-doctor cars', /cars/],
  ['xa-doctor --of cars', /"cars".*demo or test/],
];

describe('a command', () => {
  test.concurrent.each(WRONG)('"%s" ends with 1 and names the mistake, without a stack trace', async (line, names) => {
    const [command, ...args] = line.split(' ');
    const { code, out, error } = await run(command!, args);
    expect([code, out]).toEqual([1, '']);
    expect(error.replaceAll('\n', ' ')).toMatch(names);
    expect(error).not.toMatch(/^\s+at /m);
    expect(error.trim().split('\n').length).toBeLessThanOrEqual(2);
  });

  test.concurrent.each(COMMANDS)('"%s --help" shows its usage and ends with 0', async (command) => {
    const { code, out, error } = await run(command, ['--help']);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(new RegExp(`^usage: npm run ${command}`));
  });
});
