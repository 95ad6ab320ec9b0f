// The tests on servers of their own, then the invariants over all their sandboxes.
// Usage: npm test [-- <vitest filters and options>]     npm run test:all: the long ones too
// A run of unit specs alone starts no servers.
// The last line is the result: `N passed, N failed`. The audit counts as one test.
import { runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { makePrivateDir, placeOf } from '../infra-files.js';
import { auditTestSandboxes } from './test/drop-and-audit-sandboxes.js';
import { needsServers } from './test/needs-servers.js';
import { onTestServers } from './test/on-test-servers.js';
import { type Counts, runVitest } from './test/run-vitest.js';

const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const isAll = process.argv.includes('--all');
  const filters = process.argv.slice(2).filter((arg) => arg !== '--all');
  const { signal } = firstSignal({ say });
  let counts: Counts = { passed: 0, failed: 1 };
  try {
    counts = needsServers(filters)
      ? await onTestServers({ say, signal }, () => run(filters, isAll, signal))
      : await runVitest(filters, { isAll, place: makePrivateDir(placeOf('unit')), signal, say });
  } catch (error) {
    if (!signal.aborted) console.error(error instanceof OperatorError ? error.message : error);
  }
  say(`${counts.passed} passed, ${counts.failed} failed`);
  if (signal.aborted) return 130;
  return counts.passed > 0 && counts.failed === 0 ? 0 : 1;
}

async function run(filters: readonly string[], isAll: boolean, signal: AbortSignal): Promise<Counts> {
  const counts = await runVitest(filters, { isAll, place: makePrivateDir(placeOf('test')), signal, say });
  return signal.aborted ? counts : addAudit(counts, filters.length > 0);
}

/** One more test: all invariants in every sandbox. A whole run without a purchase to check has tested nothing. */
async function addAudit({ passed, failed }: Counts, isFiltered: boolean): Promise<Counts> {
  say('\nchecking the invariants in every sandbox of the tests ...');
  const { isBroken, checked } = await auditTestSandboxes({ say });
  if (checked === 0 && isFiltered && !isBroken) {
    say('no sandbox was used, so there is nothing to check');
    return { passed, failed };
  }
  const isFailed = isBroken || checked === 0;
  say(isFailed ? `the audit FAILED (${checked} sandboxes checked)` : `the audit holds in ${checked} sandboxes`);
  return isFailed ? { passed, failed: failed + 1 } : { passed: passed + 1, failed };
}

await runCommand(main);
