// Runs vitest as a process group of its own and reads its report.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDir, ROOT } from '../infra/place.mjs';

/** A suite that hangs must still end with a summary. */
const BOUND_MS = 60 * 60_000;
const POLITE_MS = 15_000;

/**
 * @param {string[]} args filters and options that are passed on; `place` is the folder of the report and temporary files
 * @param {{ isAll: boolean, place: string, signal: AbortSignal, say: (line: string) => void }} options
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function runVitest(args, { isAll, place, signal, say }) {
  const report = join(place, 'report.json');
  rmSync(report, { force: true });
  const child = spawn(
    process.execPath,
    [
      join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    // A group of its own: Ctrl-C reaches it through us, and whatever a killed test left running can be ended with it.
    { cwd: ROOT, detached: true, stdio: ['ignore', 'inherit', 'inherit'], env: testEnvironment({ isAll, place }) },
  );
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, endedBy) => resolve(code ?? endedBy));
  });
  const stop = (why) => {
    say(`${why}: ending the tests ...`);
    signalGroup(child.pid, 'SIGINT');
    setTimeout(() => signalGroup(child.pid, 'SIGKILL'), POLITE_MS).unref();
  };
  const timer = setTimeout(() => stop(`the tests took more than ${BOUND_MS / 60_000} minutes`), BOUND_MS);
  signal.addEventListener('abort', () => stop('interrupted'));
  const code = await ended;
  clearTimeout(timer);
  signalGroup(child.pid, 'SIGKILL');
  return countTests(report, code);
}

function testEnvironment({ isAll, place }) {
  const { NODE_ENV, ...env } = process.env; // the caller's production must not become the tests'
  // A run that is killed leaves its temporary files in the clone, and the next one removes them.
  const temporary = join(place, 'tmp');
  rmSync(temporary, { recursive: true, force: true });
  return { ...env, TMPDIR: makePrivateDir(temporary), ...(isAll ? { DTX_TEST_ALL: '1' } : {}) };
}

function signalGroup(pid, name) {
  try {
    process.kill(-pid, name);
  } catch {} // nobody is left in it
}

/** A file that could not even be loaded has no failed test in it, and is a failure; so is a run that failed otherwise. */
export function countTests(report, code) {
  const results = readReport(report);
  if (!results) return { passed: 0, failed: code === 0 ? 0 : 1 };
  const brokenFiles = results.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = results.numFailedTests + brokenFiles;
  return { passed: results.numPassedTests, failed: failed === 0 && code !== 0 ? 1 : failed };
}

function readReport(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return null; // vitest ended before it could write one
  }
}
