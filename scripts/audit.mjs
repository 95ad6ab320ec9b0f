// Checks the invariants against databases and broker, each with its figures.
// Usage: npm run audit [-- --of demo|test]     exit code: 0 all hold, 1 one is broken, 2 something PARKED waits

import { audit } from './audit/index.mjs';
import { exitCodeOf, reportLines } from './audit/report.mjs';
import { knownWorlds, SETS, withWorlds } from './audit/worlds.mjs';
import { readOptions, runCommand } from './command/entry.mjs';
import { prepare } from './prepare.mjs';

async function main() {
  const { values } = readOptions('npm run audit [-- --of demo|test]', {
    options: { of: { type: 'string' } },
    allowPositionals: false,
  });
  const sets = values.of ? [values.of] : SETS;
  const worlds = sets.flatMap((of) => knownWorlds(of));
  if (worlds.length === 0) {
    console.error(
      `checked nothing: there is no world of ${sets.join(' or ')} yet; "npm run demo" and "npm test" make some`,
    );
    return 1;
  }
  await prepare({ builds: false });
  const results = [];
  for (const of of sets) results.push(...(await auditSet(of)));
  return conclude(results);
}

/** One after another, except for the waiting: each audit holds only three connections, so all worlds wait together. */
async function auditSet(of) {
  return withWorlds(of, { say: console.log }, async (worlds) => {
    const results = await Promise.all(worlds.map((world) => audit(world)));
    for (const result of results) console.log(reportLines(result).join('\n'));
    return results;
  });
}

function conclude(results) {
  const code = exitCodeOf(results);
  const checked = results.filter(({ nothing }) => !nothing).length;
  const verdicts = [
    'all hold',
    checked === 0 ? 'checked nothing' : 'BROKEN',
    'all hold, but something PARKED waits for a person',
  ];
  console.log(`audit of ${results.length} worlds: ${verdicts[code]}`);
  return code;
}

await runCommand(main);
