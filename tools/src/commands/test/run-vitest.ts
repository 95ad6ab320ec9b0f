// Runs vitest as a process group of its own and reads its report.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Say } from '../../cli/say-type.js';
import { makePrivateDir, ROOT } from '../../infra-files.js';

/** A suite that hangs must still end with a summary. */
const BOUND_MS = 60 * 60_000;
const POLITE_MS = 15_000;

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

interface VitestOptions {
  readonly isAll: boolean;
  /** The folder of the report and of temporary files. */
  readonly place: string;
  readonly signal: AbortSignal;
  readonly say: Say;
  /** Beside the JSON report. */
  readonly reporter?: string;
  readonly boundMs?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/** `args` are filters and options that are passed on. */
export async function runVitest(
  args: readonly string[],
  { isAll, place, signal, say, reporter = 'default', boundMs = BOUND_MS, env = {} }: VitestOptions,
): Promise<Counts> {
  const report = join(place, 'report.json');
  rmSync(report, { force: true });
  const child = spawn(
    process.execPath,
    [
      join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      `--reporter=${reporter}`,
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    // A group of its own: this process passes Ctrl-C on, and leftovers of a killed test are ended with the group.
    {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...testEnvironment(isAll, place), ...env },
    },
  );
  const ended = new Promise<number | string | null>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, endedBy) => resolve(code ?? endedBy));
  });
  const stop = (why: string) => {
    say(`${why}: ending the tests ...`);
    signalGroup(child.pid, 'SIGINT');
    setTimeout(() => signalGroup(child.pid, 'SIGKILL'), POLITE_MS).unref();
  };
  const timer = setTimeout(() => stop(`the tests took more than ${boundMs / 60_000} minutes`), boundMs);
  signal.addEventListener('abort', () => stop('interrupted'));
  const code = await ended;
  clearTimeout(timer);
  signalGroup(child.pid, 'SIGKILL');
  return countTests(report, code);
}

function testEnvironment(isAll: boolean, place: string): NodeJS.ProcessEnv {
  const { NODE_ENV, ...env } = process.env; // the caller may be in production mode
  // A run that is killed leaves its temporary files in the clone, and the next one removes them.
  const temporary = join(place, 'tmp');
  rmSync(temporary, { recursive: true, force: true });
  return { ...env, TMPDIR: makePrivateDir(temporary), ...(isAll ? { DTX_TEST_ALL: '1' } : {}) };
}

function signalGroup(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {} // the group is empty
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: ReadonlyArray<{
    readonly status: string;
    readonly assertionResults: ReadonlyArray<{ readonly status: string }>;
  }>;
}

/** A file that cannot be loaded has no failed test in it, but counts as a failure. So does a run that failed otherwise. */
function countTests(report: string, code: number | string | null): Counts {
  const results = readReport(report);
  if (!results) return { passed: 0, failed: code === 0 ? 0 : 1 };
  const brokenFiles = results.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = results.numFailedTests + brokenFiles;
  return { passed: results.numPassedTests, failed: failed === 0 && code !== 0 ? 1 : failed };
}

function readReport(report: string): Report | null {
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as Report;
  } catch {
    return null; // vitest ended before it could write one
  }
}
