import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { until } from '../fixtures/until.js';

const FIXTURES = join(ROOT, 'test', 'fixtures');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'left-processes-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** How a spec file fails before it ends the process of its test. */
const FAILURES = {
  'runs out of time': { body: 'await new Promise(() => {});', after: '', error: 'Test timed out in 500ms' },
  'fails in afterAll': { body: '', after: "throw new Error('not settled');", error: 'not settled' },
} as const;
const failures = Object.keys(FAILURES) as Array<keyof typeof FAILURES>;

/** Runs a spec file whose only test starts a process, and which fails. Resolves to the pid of that process. */
async function leftBy(failure: keyof typeof FAILURES, setupFiles: readonly string[]): Promise<number> {
  const { body, after, error } = FAILURES[failure];
  const pidFile = join(folder, 'pid');
  const config = { test: { root: folder, pool: 'forks', testTimeout: 500, setupFiles } };
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)}`);
  writeFileSync(
    join(folder, 'leaving.spec.ts'),
    `import { writeFileSync } from 'node:fs';
     import { afterAll, test } from 'vitest';
     import { spawnForFile } from ${JSON.stringify(join(FIXTURES, 'spawned-processes.js'))};
     afterAll(() => { ${after} });
     test('starts a process', async () => {
       const child = spawnForFile(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], { stdio: 'ignore' });
       writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
       ${body}
     });`,
  );
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--config', join(folder, 'vitest.config.mjs')];
  const output = await new Promise<string>((resolve) =>
    execFile(process.execPath, args, { cwd: folder }, (_, out, errors) => resolve(out + errors)),
  );
  expect(output).toContain(error);
  return Number(readFileSync(pidFile, 'utf8'));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test.each(failures)('a file that %s leaves no process', async (failure) => {
  const pid = await leftBy(failure, [join(FIXTURES, 'kill-left-processes.ts')]);
  await until('the process of the test ends', () => !isAlive(pid), { withinMs: 5_000 });
});

test.each(failures)('without the hook, the process of a file that %s outlives it', async (failure) => {
  const pid = await leftBy(failure, []);
  expect(isAlive(pid)).toBe(true);
  process.kill(pid, 'SIGKILL');
});
