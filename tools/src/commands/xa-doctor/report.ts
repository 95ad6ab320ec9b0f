// The findings about branches as text.
import { formatTable } from '../../cli/table.js';
import type { Examination, ExaminedBranch } from './examine.js';

export function reportOf({ sandbox, isWell, logId, log, branches, decisions, locks }: Examination): string {
  const lines = [`sandbox ${sandbox}: ${isWell ? 'well' : 'NOT WELL'}; decision log ${logId ?? 'none yet'}`];
  if (!log.isHome) lines.push(`  the log is bound to ${log.home}, and is read from ${log.here}`);
  if (!log.isWhole) lines.push('  the log has lost its sentinel row: rows are missing');
  if (branches.length === 0) lines.push('  no server has a prepared branch');
  else lines.push(...indent(branchTable(branches)));
  if (decisions.length > 0) {
    lines.push('  decisions that are not carried out:');
    for (const { id, gid, decision, state, attempts, last_error: error } of decisions)
      lines.push(
        `    ${id} (gid ${gid}): ${decision ?? 'not known'}, ${state}, attempts ${attempts}${error ? `: ${error}` : ''}`,
      );
  }
  for (const { app, lockedRows, forSeconds } of locks)
    lines.push(`  ${app}: a transaction without a connection has locked ${lockedRows} rows for ${forSeconds} s`);
  return lines.join('\n');
}

function branchTable(branches: readonly ExaminedBranch[]): string {
  const header = ['server', 'branch', 'whose', 'transaction', 'prepared for', 'the log says', 'next'];
  const cells = branches.map(({ app, branch, whose, id, gtrid, preparedForMs, log, next }) => [
    app,
    printable(branch),
    whose,
    id ?? printable(gtrid),
    preparedForMs === null ? '?' : `${(preparedForMs / 1_000).toFixed(1)} s`,
    log,
    next,
  ]);
  return formatTable(header, cells);
}

const indent = (text: string) => text.split('\n').map((line) => `  ${line}`);
/** Ids of other programs may be any bytes. */
const printable = (text: string) => JSON.stringify(text.slice(0, 40)).slice(1, -1);
