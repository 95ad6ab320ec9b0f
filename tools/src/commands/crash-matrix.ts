// Every failpoint in every mode, as a table: a process of the app dies, stops or fails there, and the work must end once.
// Usage: npm run crash-matrix [-- --shards N] [--shard I] [--write] [<vitest filters>]
//        npm run crash-matrix -- --publish <matrix.json of each shard>
// Exit code: 0 all hold, 1 not, 130 interrupted
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { makePrivateDir, placeOf, ROOT } from '../infra-files.js';
import type { Servers } from '../servers/server-set.js';
import { versionsOf } from '../servers/versions.js';
import { failedOf, type MatrixRun, type ShardResult } from './crash-matrix/cases.js';
import { pageOf, summaryOf, tableOf } from './crash-matrix/matrix-report.js';
import { mergedRun, readRun } from './crash-matrix/merged-run.js';
import { publish } from './crash-matrix/written-page.js';
import { auditTestSandboxes } from './test/drop-and-audit-sandboxes.js';
import { onTestServers } from './test/on-test-servers.js';
import { runVitest } from './test/run-vitest.js';

const USAGE =
  'npm run crash-matrix [-- --shards N] [--shard I] [--write] [<vitest filters>] | --publish <matrix.json>...';
const say: Say = (line) => console.log(line);
const SHARD_BOUND_MS = 50 * 60_000;
const REPORTER = join(import.meta.dirname, 'crash-matrix', 'progress-reporter.js');

interface Settings {
  readonly shards: readonly string[];
  readonly filters: readonly string[];
}

async function main(): Promise<number> {
  const { values, positionals } = readOptions(USAGE, {
    options: {
      shards: { type: 'string', default: '2' },
      shard: { type: 'string' },
      write: { type: 'boolean', default: false },
      publish: { type: 'boolean', default: false },
    },
  });
  if (values.publish) return publishFiles(positionals);
  const count = numberIn('--shards', values.shards, 99);
  const chosen = values.shard === undefined ? null : numberIn('--shard', values.shard, count);
  if (values.write && (chosen !== null || positionals.length > 0))
    throw new OperatorError(`--write publishes a whole run: leave --shard and the filters out\nusage: ${USAGE}`);
  const all = Array.from({ length: count }, (_, index) => index + 1);
  const shards = (chosen === null ? all : [chosen]).map((number) => `${number}/${count}`);
  const { signal } = firstSignal({ say });
  const run = await onTestServers({ say, signal }, (servers) =>
    play({ shards, filters: positionals }, servers, signal),
  );
  if (!run || signal.aborted) return 130;
  return report(run, values.write);
}

/** For shards that were played apart. Writes nothing if a case has failed. */
function publishFiles(paths: readonly string[]): number {
  const run = mergedRun(paths.map(readRun));
  const failed = failedOf(run);
  for (const line of failed) say(`FAILED  ${line}`);
  say(summaryOf(run));
  say(failed.length === 0 ? `written: ${publish(run).join(', ')}` : 'not written, since a case has failed');
  return failed.length === 0 ? 0 : 1;
}

function numberIn(name: string, text: string, max: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= max) return number;
  throw new OperatorError(`${name} is "${text}": it must be a whole number from 1 to ${max}\nusage: ${USAGE}`);
}

async function play({ shards, filters }: Settings, servers: Servers, signal: AbortSignal): Promise<MatrixRun | null> {
  const place = makePrivateDir(placeOf('test'));
  const results: ShardResult[] = [];
  const times: Array<{ shard: string; seconds: number }> = [];
  for (const shard of shards) {
    say(`\nshard ${shard}, at most ${SHARD_BOUND_MS / 60_000} minutes`);
    const since = Date.now();
    results.push(await playShard(shard, { filters, place, signal }));
    times.push({ shard, seconds: Math.round((Date.now() - since) / 1_000) });
    if (signal.aborted) return null;
  }
  const { isBroken } = await auditTestSandboxes({ say });
  const audit = isBroken ? ['the audit of a sandbox'] : [];
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim(),
    ...(await versionsOf(servers)),
    node: process.versions.node,
    shards: times,
    cases: results.flatMap(({ cases }) => cases),
    others: {
      passed: results.reduce((sum, { others }) => sum + others.passed, isBroken ? 0 : 1),
      failed: [...results.flatMap(({ others }) => others.failed), ...audit],
    },
  };
}

async function playShard(
  shard: string,
  { filters, place, signal }: { filters: readonly string[]; place: string; signal: AbortSignal },
): Promise<ShardResult> {
  const path = join(place, 'matrix-shard.json');
  rmSync(path, { force: true });
  const args = ['--project=crash', `--shard=${shard}`, ...filters];
  const vitest = { isAll: true, place, signal, say, boundMs: SHARD_BOUND_MS, reporter: REPORTER };
  const counts = await runVitest(args, { ...vitest, env: { DTX_MATRIX_RESULT: path } });
  if (!existsSync(path)) return { cases: [], others: { passed: 0, failed: [`shard ${shard} did not end`] } };
  const result = JSON.parse(readFileSync(path, 'utf8')) as ShardResult;
  const isMissed = counts.failed > 0 && failedOf(result).length === 0;
  return isMissed ? { ...result, others: { passed: 0, failed: [`shard ${shard}: vitest failed`] } } : result;
}

function report(run: MatrixRun, isWritten: boolean): number {
  const place = makePrivateDir(placeOf('crash-matrix'));
  writeFileSync(join(place, 'matrix.json'), JSON.stringify(run, null, 1));
  writeFileSync(join(place, 'matrix.html'), pageOf(run));
  const failed = failedOf(run);
  say(`\n${tableOf(run)}\n`);
  for (const line of failed) say(`FAILED  ${line}`);
  say(`${summaryOf(run)}\nas a page: ${join(place, 'matrix.html')}`);
  if (isWritten && failed.length === 0) say(`written: ${publish(run).join(', ')}`);
  if (isWritten && failed.length > 0) say('not written, since a case has failed');
  return run.cases.length > 0 && failed.length === 0 ? 0 : 1;
}

await runCommand(main);
