// Checks the invariants against databases and broker, each with its figures. With --since: what a failover has lost.
// Usage: npm run audit [-- --of demo|test|chaos|url] [--since 2h]
// exit code: 0 all hold, 1 a check is broken, 2 a row is PARKED

import type { AuditReport } from '../audit/check-types.js';
import { audit } from '../audit/index.js';
import { auditLostTail } from '../audit/lost-tail/index.js';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { pastMoment } from '../cli/past-moment.js';
import { openDatabases } from '../sandbox/database-reader.js';
import { givenSandbox, openGiven } from '../sandbox/given-sandbox.js';
import { knownSandboxes, type SetName, setsOf } from '../sandbox/known-sandboxes.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import { withSandboxes } from '../sandbox/servers-for-sandboxes.js';

const say = (line: string) => console.log(line);
/** An older message may be gone at its sender, and its absence would prove nothing. */
const OLDEST = { agoMs: 7 * 86_400_000, reason: 'finished messages are kept for 7 days (localMessage.retentionMs)' };
/** Ids are the input of what the operator does next. */
const LOST_SHOWN_MAX = 1_000;

async function main(): Promise<number> {
  const { values } = readOptions('npm run audit [-- --of demo|test|chaos|url] [--since 2h|<ISO 8601>]', {
    options: { of: { type: 'string' }, since: { type: 'string' } },
    allowPositionals: false,
  });
  const sinceMs = values.since === undefined ? undefined : pastMoment('--since', values.since, OLDEST);
  if (values.of === 'url') return conclude([await auditGiven(sinceMs)]);
  const sets = setsOf(values.of);
  if (sets.flatMap(knownSandboxes).length === 0) {
    console.error(`checked nothing: ${sets.join(' or ')} has not run yet; run "npm run demo" or "npm test" first`);
    return 1;
  }
  const results: AuditReport[] = [];
  for (const of of sets) results.push(...(await auditSet(of, sinceMs)));
  return conclude(results);
}

/** A deployment of the demo apps on servers that DTX_*_URL name. It is only read. */
async function auditGiven(sinceMs: number | undefined): Promise<AuditReport> {
  const sandbox = givenSandbox(process.env, { needsBroker: sinceMs === undefined });
  const databases = await openGiven(sandbox);
  try {
    const result =
      sinceMs === undefined
        ? await audit(sandbox)
        : await auditLostTail(databases, { sinceMs, name: sandbox.name, say });
    return shown(result, sinceMs);
  } finally {
    await databases.close();
  }
}

async function auditSandbox(sandbox: Sandbox, sinceMs: number | undefined): Promise<AuditReport> {
  if (sinceMs === undefined) return audit(sandbox);
  const databases = await openDatabases(sandbox);
  try {
    return await auditLostTail(databases, { sinceMs, name: sandbox.name, say });
  } finally {
    await databases.close();
  }
}

function shown(result: AuditReport, sinceMs: number | undefined): AuditReport {
  const options = sinceMs === undefined ? {} : { shownMax: LOST_SHOWN_MAX };
  for (const line of reportLines(result, options)) say(line);
  return result;
}

/** All sandboxes at once: an audit mostly waits, and holds only three connections. */
async function auditSet(of: SetName, sinceMs: number | undefined): Promise<AuditReport[]> {
  return withSandboxes(of, { say }, async (sandboxes) => {
    const results = await Promise.all(sandboxes.map((sandbox) => auditSandbox(sandbox, sinceMs)));
    return results.map((result) => shown(result, sinceMs));
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
