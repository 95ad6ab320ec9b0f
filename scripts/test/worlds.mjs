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
  await Promise.all(knownWorlds('test').map(({ name }) => dropWorld(servers, name)));
  rmSync(testWorldsFile(), { force: true });
}

/**
 * The invariants, over everything that the tests did. What a test has parked on purpose it settles as a person would: then
 * `npm run audit` is as content with the tests' worlds as this is.
 * @returns {Promise<{ isBroken: boolean, checked: number }>} `checked`: worlds in which there was something to check
 */
export async function auditTestWorlds({ say }) {
  const results = await Promise.all(knownWorlds('test').map((world) => audit(world, { settleMs: SETTLE_MS })));
  for (const result of results) say(linesOf(result).join('\n'));
  const isBroken = !results.every(isWhole);
  return { isBroken, checked: results.filter(({ nothing }) => !nothing).length };
}

/** One line for a world in which all holds, everything for one that is broken. */
function linesOf(result) {
  const lines = reportLines(result);
  return isWhole(result) ? lines.slice(0, 1) : lines;
}

const isWhole = ({ checks, parked }) => checks.every((check) => check.ok) && parked.length === 0;
