// The tests on servers of their own, then the invariants over everything that they did.
// Usage: npm test [-- <vitest filters and options>]     npm run test:all: the long ones too
// A run of unit specs alone starts no servers and needs no build.
// The last line is the result: `N passed, N failed`. The audit counts as one test.
import { join } from 'node:path';
import { isUp } from './audit/worlds.mjs';
import { OperatorError, runCommand } from './command/entry.mjs';
import { firstSignal } from './command/signals.mjs';
import { down, up } from './infra/index.mjs';
import { withLock } from './infra/lock.mjs';
import { makePrivateDir, placeOf, ROOT } from './infra/place.mjs';
import { prepare } from './prepare.mjs';
import { needsServers } from './test/projects.mjs';
import { runVitest } from './test/vitest.mjs';
import { auditTestWorlds, dropOldWorlds } from './test/worlds.mjs';

const say = (line) => console.log(line);

async function main() {
  const isAll = process.argv.includes('--all');
  const filters = process.argv.slice(2).filter((arg) => arg !== '--all');
  const interrupt = firstSignal({ say });
  let counts = { passed: 0, failed: 1 };
  try {
    const lock = join(ROOT, '.infra', 'test-run.lock'); // two runs at once would drop each other's databases
    counts = needsServers(filters)
      ? await withLock(lock, { say, what: 'the tests', boundMs: 3_600_000 }, () => run(filters, { isAll, interrupt }))
      : await runUnits(filters, interrupt);
  } catch (error) {
    if (!interrupt.signal.aborted) console.error(error instanceof OperatorError ? error.message : error);
  }
  say(`${counts.passed} passed, ${counts.failed} failed`);
  if (interrupt.signal.aborted) return 130;
  return counts.passed > 0 && counts.failed === 0 ? 0 : 1;
}

/** Beside a run with servers, so its files are in a folder of its own. */
async function runUnits(filters, { signal }) {
  await prepare({ say, builds: false, signal });
  return runVitest(filters, { isAll: true, place: makePrivateDir(placeOf('unit')), signal, say });
}

/** Servers that were up before stay up: somebody else uses them, or wants the next run to be quick. */
async function run(filters, { isAll, interrupt }) {
  const { signal } = interrupt;
  await prepare({ say, signal });
  const wasUp = await isUp('test');
  try {
    const servers = await up('test', { say });
    signal.throwIfAborted();
    await dropOldWorlds(servers);
    const counts = await runVitest(filters, { isAll, place: makePrivateDir(placeOf('test')), signal, say });
    if (!signal.aborted) await addAudit(counts, { isFiltered: filters.length > 0 });
    return counts;
  } finally {
    if (!wasUp) await down('test', { say });
  }
}

/** One more test: all invariants in every world. A whole run that left no purchase to check has tested nothing. */
async function addAudit(counts, { isFiltered }) {
  say('\nchecking the invariants in every world of the tests ...');
  const { isBroken, checked } = await auditTestWorlds({ say });
  if (checked === 0 && isFiltered && !isBroken) return say('no world was used, so there is nothing to check');
  const isFailed = isBroken || checked === 0;
  say(isFailed ? `the audit FAILED (${checked} worlds checked)` : `the audit holds in ${checked} worlds`);
  counts[isFailed ? 'failed' : 'passed'] += 1;
}

await runCommand(main);
