// Makes a clone ready to run: dependencies as the lockfile says, then the build. Costs little when nothing is to do.
// Usage: node scripts/prepare.mjs   (also called by every command that needs node_modules or dist)
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { OperatorError, runCommand } from './command/entry.mjs';
import { withLock } from './infra/lock.mjs';
import { ROOT } from './infra/place.mjs';
import { build } from './prepare/build.mjs';
import { installDependencies, whatIsMissing } from './prepare/install.mjs';

const OLDEST_NODE = [20, 19];

/**
 * Installs and builds what is missing. Two commands at once take turns: both would write the same folders.
 * @param {{ say?: (line: string) => void, builds?: boolean, signal?: AbortSignal }} options
 */
export async function prepare({ say = console.log, builds = true, signal } = {}) {
  refuseOldNode();
  const lock = join(ROOT, '.infra', 'prepare.lock');
  await withLock(lock, { say, what: 'dependencies and build', boundMs: 900_000 }, async () => {
    const missing = whatIsMissing(ROOT);
    if (missing) await installDependencies(ROOT, { say, signal, why: missing });
    if (builds) await build(ROOT, { say, signal });
  });
}

function refuseOldNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [oldMajor, oldMinor] = OLDEST_NODE;
  if (major > oldMajor || (major === oldMajor && minor >= oldMinor)) return;
  throw new OperatorError(
    `Node.js ${OLDEST_NODE.join('.')} or newer is needed, this is ${process.versions.node}: install a newer one`,
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await runCommand(() => prepare());
