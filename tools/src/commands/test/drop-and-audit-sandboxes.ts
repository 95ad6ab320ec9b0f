// The sandboxes of the tests: each run makes its own anew, and the audit at the end looks at all of them.

import { rmSync } from 'node:fs';
import type { AuditReport } from '../../audit/check-types.js';
import { audit } from '../../audit/index.js';
import { reportLines } from '../../audit/report-and-exit-code.js';
import type { Say } from '../../cli/say-type.js';
import { knownSandboxes, testSandboxesFile } from '../../sandbox/known-sandboxes.js';
import { dropSandbox } from '../../sandbox/sandbox.js';
import type { Servers } from '../../servers/server-set.js';

// No app is left running, so nothing more will settle.
const SETTLE_MS = 10_000;

/** Forgets the sandboxes of earlier runs and drops their data. */
export async function dropOldSandboxes(servers: Servers): Promise<void> {
  await Promise.all(knownSandboxes('test').map(({ name }) => dropSandbox(servers, name)));
  rmSync(testSandboxesFile(), { force: true });
}

/**
 * The invariants over all sandboxes of the tests. A test that parks a row on purpose settles it as an operator would, so
 * that nothing is PARKED here. `checked` counts the sandboxes with something to check.
 */
export async function auditTestSandboxes({ say }: { say: Say }): Promise<{ isBroken: boolean; checked: number }> {
  const results = await Promise.all(knownSandboxes('test').map((sandbox) => audit(sandbox, { settleMs: SETTLE_MS })));
  for (const result of results) say(linesOf(result).join('\n'));
  const isBroken = !results.every(isWhole);
  return { isBroken, checked: results.filter(({ nothing }) => !nothing).length };
}

/** One line for a sandbox in which all checks hold, the whole report for a broken one. */
function linesOf(result: AuditReport): string[] {
  const lines = reportLines(result);
  return isWhole(result) ? lines.slice(0, 1) : lines;
}

const isWhole = ({ checks, parked }: AuditReport) => checks.every((check) => check.ok) && parked.length === 0;
