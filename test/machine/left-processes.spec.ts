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

/** Runs a spec file whose only test starts a process and runs out of time. Resolves to the pid of that process. */
async function runOutOfTime(setupFiles: readonly string[]): Promise<number> {
  const pidFile = join(folder, 'pid');
  const config = { test: { root: folder, pool: 'forks', testTimeout: 500, setupFiles } };
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)}`);
  writeFileSync(
    join(folder, 'leaving.spec.ts'),
    `import { writeFileSync } from 'node:fs';
     import { test } from 'vitest';
     import { spawnForFile } from ${JSON.stringify(join(FIXTURES, 'spawned-processes.js'))};
     test('never ends', () => {
       const child = spawnForFile(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], { stdio: 'ignore' });
       writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
       return new Promise(() => {});
     });`,
  );
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--config', join(folder, 'vitest.config.mjs')];
  const output = await new Promise<string>((resolve) =>
    execFile(process.execPath, args, { cwd: folder }, (_, out, errors) => resolve(out + errors)),
  );
  expect(output).toContain('Test timed out in 500ms');
  return Number(readFileSync(pidFile, 'utf8'));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a test that runs out of time leaves no process', async () => {
  const pid = await runOutOfTime([join(FIXTURES, 'kill-left-processes.ts')]);
  await until('the process of the test ends', () => !isAlive(pid), { withinMs: 5_000 });
});

test('without the hook the process outlives its file', async () => {
  const pid = await runOutOfTime([]);
  expect(isAlive(pid)).toBe(true);
  process.kill(pid, 'SIGKILL');
});
