// Prepared XA branches on all three servers: whose they are, what the decision log says, what will be done about them.
// Usage: npm run xa-doctor [-- --of demo|test] [--json]     exit code: 0 none is overdue, 2 some are, or wait for a person
import { openDatabases } from './audit/databases.mjs';
import { knownWorlds, SETS, withWorlds } from './audit/worlds.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { prepare } from './prepare.mjs';
import { examine, reportOf } from './xa-doctor/examine.mjs';

async function main() {
  const { values } = readOptions('npm run xa-doctor [-- --of demo|test] [--json]', {
    options: { of: { type: 'string' }, json: { type: 'boolean' } },
    allowPositionals: false,
  });
  const sets = values.of ? [values.of] : SETS;
  if (sets.flatMap((of) => knownWorlds(of)).length === 0)
    throw new OperatorError(`there is no world of ${sets.join(' or ')} yet: "npm run demo" and "npm test" make some`);
  await prepare({ say: values.json ? console.error : console.log, builds: false });
  const found = [];
  for (const of of sets)
    found.push(...(await withWorlds(of, { say: console.error }, (worlds) => Promise.all(worlds.map(examineWorld)))));
  console.log(values.json ? JSON.stringify(found, null, 2) : found.map(reportOf).join('\n\n'));
  return found.some(({ isWell }) => !isWell) ? 2 : 0;
}

async function examineWorld(world) {
  const databases = await openDatabases(world);
  try {
    return { world: world.name, ...(await examine(databases)) };
  } finally {
    await databases.close();
  }
}

await runCommand(main);
