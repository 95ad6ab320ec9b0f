// The worlds of the tests: each run makes its own anew, and the audit at the end looks at every one.
import { rmSync } from 'node:fs';
import { audit } from '../audit/index.mjs';
import { reportLines } from '../audit/report.mjs';
import { knownWorlds, testWorldsFile } from '../audit/worlds.mjs';

// No app is left running that could still settle anything.
const SETTLE_MS = 10_000;

/** Forgets the worlds of earlier runs and drops their data. */
export async function dropOldWorlds(servers) {
  const { dropWorld } = await import('../infra/world.mjs');
  for (const { name } of knownWorlds('test')) await dropWorld(servers, name);
  rmSync(testWorldsFile(), { force: true });
}

/**
 * The invariants, over everything that the tests did. PARKED is no failure here: tests park things on purpose.
 * @returns {Promise<{ isBroken: boolean, checked: number }>} `checked`: worlds in which there was something to check
 */
export async function auditTestWorlds({ say }) {
  const results = await Promise.all(knownWorlds('test').map((world) => audit(world, { settleMs: SETTLE_MS })));
  for (const result of results) say(linesOf(result).join('\n'));
  const isBroken = results.some(({ checks }) => checks.some((check) => !check.ok));
  return { isBroken, checked: results.filter(({ nothing }) => !nothing).length };
}

/** One line for a world in which all holds, everything for one that is broken. */
function linesOf(result) {
  const lines = reportLines(result);
  return result.checks.every((check) => check.ok) ? lines.slice(0, 1) : lines;
}
