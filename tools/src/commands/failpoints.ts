// Every failpoint with the state on disk if a process dies or stops there, and the component that finishes the work.
// Usage: npm run failpoints [-- --json]
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { formatTable } from '../cli/table.js';
import { knownFailpoints } from './break/known-failpoints.js';

async function main(): Promise<number> {
  const { values } = readOptions('npm run failpoints [-- --json]', {
    options: { json: { type: 'boolean' } },
    allowPositionals: false,
  });
  const points = knownFailpoints();
  if (values.json) {
    console.log(JSON.stringify(points, null, 2));
    return 0;
  }
  const rows = points.map(({ name, scheme, step, app }) => [name, scheme, step, app]);
  console.log(formatTable(['failpoint', 'scheme', 'step', 'app'], rows));
  for (const { name, disk, finisher } of points) console.log(`\n${name}\n  on disk   ${disk}\n  finished  ${finisher}`);
  console.log('\nnpm run break -- <failpoint> [--mode crash|pause|error] shows one in the running demo');
  return 0;
}

await runCommand(main);
