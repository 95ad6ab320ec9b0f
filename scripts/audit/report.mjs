// The audit as text: what was looked at with its figures, what is violated, and what waits for a person.

const SHOWN_MAX = 20;

/** @returns {string[]} lines */
export function reportLines(result) {
  return [`${headline(result)}`, ...result.checks.flatMap(checkLines), ...parkedLines(result.parked)];
}

function headline({ world, ok, nothing, checks, parked }) {
  const broken = checks.filter((check) => !check.ok).length;
  if (broken > 0) return `world ${world}: ${broken} of ${checks.length} checks are BROKEN`;
  if (nothing) return `world ${world}: checked nothing, there is no purchase in it`;
  return `world ${world}: ${ok ? 'all' : 'not all'} ${checks.length} checks hold${parked.length > 0 ? `, ${parked.length} PARKED` : ''}`;
}

function checkLines({ name, ok, figures, violations }) {
  const shown = Object.entries(figures).map(([key, value]) => `${inWords(key)} ${value}`);
  return [
    `  ${ok ? 'holds ' : 'BROKEN'}  ${name.padEnd(18)} ${shown.join(', ')}`,
    ...shorten(violations).map((line) => `            ${line}`),
  ];
}

function parkedLines(parked) {
  if (parked.length === 0) return [];
  const lines = parked.map(
    ({ app, table, id, gid, error, retry }) =>
      `${app}.${table} ${id} (gid ${gid ?? '-'}): ${error}; retry with ${retry}`,
  );
  return ['  waiting for a person:', ...shorten(lines).map((line) => `            ${line}`)];
}

const inWords = (key) => key.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

const shorten = (lines) =>
  lines.length <= SHOWN_MAX ? lines : [...lines.slice(0, SHOWN_MAX), `... and ${lines.length - SHOWN_MAX} more`];

/** 0 all hold, 1 one is broken (or nothing was there to check), 2 all hold but something PARKED waits for a person. */
export function exitCodeOf(results) {
  if (results.some(({ checks }) => checks.some((check) => !check.ok))) return 1;
  if (results.every(({ nothing }) => nothing)) return 1;
  return results.some(({ parked }) => parked.length > 0) ? 2 : 0;
}
