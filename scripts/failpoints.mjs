// Every failpoint: where a process can be made to die or to stop, what is true on disk there, and who finishes.
// Usage: npm run failpoints [-- --json]

import { knownFailpoints } from './break/registry.mjs';
import { readOptions, runCommand } from './command/entry.mjs';
import { formatTable } from './command/table.mjs';

async function main() {
  const { values } = readOptions('npm run failpoints [-- --json]', {
    options: { json: { type: 'boolean' } },
    allowPositionals: false,
  });
  const points = await knownFailpoints({ say: values.json ? console.error : console.log });
  if (values.json) {
    console.log(JSON.stringify(points, null, 2));
    return;
  }
  console.log(
    formatTable(
      ['failpoint', 'scheme', 'step', 'app'],
      points.map(({ name, scheme, step, app }) => [name, scheme, step, app]),
    ),
  );
  for (const { name, disk, finisher } of points) console.log(`\n${name}\n  on disk   ${disk}\n  finished  ${finisher}`);
  console.log('\nnpm run break -- <failpoint> [--mode crash|pause] shows one in the running demo');
}

await runCommand(main);
