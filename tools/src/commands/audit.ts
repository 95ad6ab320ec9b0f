// Checks the invariants against databases and broker, each with its figures.
// Usage: npm run audit [-- --of demo|test]     exit code: 0 all hold, 1 a check is broken, 2 a row is PARKED

import type { AuditReport } from '../audit/check-types.js';
import { audit } from '../audit/index.js';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { knownSandboxes, type SetName, setsOf } from '../sandbox/known-sandboxes.js';
import { withSandboxes } from '../sandbox/servers-for-sandboxes.js';

async function main(): Promise<number> {
  const { values } = readOptions('npm run audit [-- --of demo|test]', {
    options: { of: { type: 'string' } },
    allowPositionals: false,
  });
  const sets = setsOf(values.of);
  if (sets.flatMap(knownSandboxes).length === 0) {
    console.error(`checked nothing: ${sets.join(' or ')} has not run yet; run "npm run demo" or "npm test" first`);
    return 1;
  }
  const results: AuditReport[] = [];
  for (const of of sets) results.push(...(await auditSet(of)));
  return conclude(results);
}

/** All sandboxes at once: an audit mostly waits, and holds only three connections. */
async function auditSet(of: SetName): Promise<AuditReport[]> {
  return withSandboxes(of, { say: console.log }, async (sandboxes) => {
    const results = await Promise.all(sandboxes.map((sandbox) => audit(sandbox)));
    for (const result of results) console.log(reportLines(result).join('\n'));
    return results;
  });
}

function conclude(results: readonly AuditReport[]): number {
  const code = exitCodeOf(results);
  const checked = results.filter(({ nothing }) => !nothing).length;
  const verdicts = [
    'all hold',
    checked === 0 ? 'checked nothing' : 'BROKEN',
    'all hold, but something PARKED waits for a person',
  ];
  console.log(`audit of ${results.length} sandboxes: ${verdicts[code]}`);
  return code;
}

await runCommand(main);
