// Prepared XA branches on all three servers: their owner, the decision in the log, and who ends them next.
// Usage: npm run xa-doctor [-- --of demo|test|chaos] [--json]     exit code: 0 none is overdue, 2 some are overdue or PARKED

import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { OperatorError } from '../cli/operator-error.js';
import { openDatabases } from '../sandbox/database-reader.js';
import { knownSandboxes, setsOf } from '../sandbox/known-sandboxes.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import { withSandboxes } from '../sandbox/servers-for-sandboxes.js';
import { type Examination, examine } from './xa-doctor/examine.js';
import { reportOf } from './xa-doctor/report.js';

async function main(): Promise<number> {
  const { values } = readOptions('npm run xa-doctor [-- --of demo|test|chaos] [--json]', {
    options: { of: { type: 'string' }, json: { type: 'boolean' } },
    allowPositionals: false,
  });
  const sets = setsOf(values.of);
  if (sets.flatMap(knownSandboxes).length === 0)
    throw new OperatorError(`${sets.join(' or ')} has not run yet; run "npm run demo" or "npm test" first`);
  const found: Examination[] = [];
  for (const of of sets) {
    const examineAll = (sandboxes: Sandbox[]) => Promise.all(sandboxes.map(examineSandbox));
    found.push(...(await withSandboxes(of, { say: console.error }, examineAll)));
  }
  console.log(values.json ? JSON.stringify(found, null, 2) : found.map(reportOf).join('\n\n'));
  return found.some(({ isWell }) => !isWell) ? 2 : 0;
}

async function examineSandbox(sandbox: Sandbox): Promise<Examination> {
  const databases = await openDatabases(sandbox);
  try {
    return { sandbox: sandbox.name, ...(await examine(databases)) };
  } finally {
    await databases.close();
  }
}

await runCommand(main);
