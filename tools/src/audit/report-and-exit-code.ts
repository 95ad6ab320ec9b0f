// The audit as text: the checks with their figures, the violations, and the parked rows.
import type { AuditCheck, AuditReport } from './check-types.js';
import type { ParkedRow } from './durable-rows.js';

const SHOWN_MAX = 20;

/** @param shownMax violations shown of each check */
export function reportLines(result: AuditReport, { shownMax = SHOWN_MAX } = {}): string[] {
  const checks = result.checks.flatMap((check) => checkLines(check, shownMax));
  return [headline(result), ...checks, ...parkedLines(result.parked)];
}

function headline({ sandbox, ok, nothing, checks, parked }: AuditReport): string {
  const broken = checks.filter((check) => !check.ok).length;
  if (broken > 0) return `sandbox ${sandbox}: ${broken} of ${checks.length} checks are BROKEN`;
  if (nothing) return `sandbox ${sandbox}: checked nothing, it has no purchase`;
  return `sandbox ${sandbox}: ${ok ? 'all' : 'not all'} ${checks.length} checks hold${parked.length > 0 ? `, ${parked.length} PARKED` : ''}`;
}

function checkLines({ name, ok, figures, violations, todo }: AuditCheck, shownMax: number): string[] {
  const shown = Object.entries(figures).map(([key, value]) => `${inWords(key)} ${value}`);
  return [
    `  ${ok ? 'holds ' : 'BROKEN'}  ${name.padEnd(18)} ${shown.join(', ')}`,
    ...shorten(violations, shownMax).map((line) => `            ${line}`),
    ...(todo === undefined ? [] : [`            what to do: ${todo}`]),
  ];
}

function parkedLines(parked: readonly ParkedRow[]): string[] {
  if (parked.length === 0) return [];
  const lines = parked.map(
    ({ app, table, id, gid, error, retry }) =>
      `${app}.${table} ${id} (gid ${gid ?? '-'}): ${error}; retry with ${retry}`,
  );
  return ['  waiting for a person:', ...shorten(lines).map((line) => `            ${line}`)];
}

const inWords = (key: string) => key.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

const shorten = (lines: readonly string[], shownMax = SHOWN_MAX) =>
  lines.length <= shownMax ? lines : [...lines.slice(0, shownMax), `... and ${lines.length - shownMax} more`];

/** 0: all checks hold. 1: a check is broken, or there was nothing to check. 2: all hold, but a row is PARKED. */
export function exitCodeOf(results: ReadonlyArray<Pick<AuditReport, 'checks' | 'nothing' | 'parked'>>): 0 | 1 | 2 {
  if (results.some(({ checks }) => checks.some((check) => !check.ok))) return 1;
  if (results.every(({ nothing }) => nothing)) return 1;
  return results.some(({ parked }) => parked.length > 0) ? 2 : 0;
}
