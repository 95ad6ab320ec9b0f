// Dependencies: compared with the lockfile by content, because a checkout makes every file look new.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runNpm } from './npm.mjs';

/**
 * Says what `node_modules` lacks, or null when it holds what package-lock.json says. npm leaves beside the packages a
 * lockfile of what it really installed; both are compared, and each folder is looked for.
 */
export function whatIsMissing(root) {
  const installed = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  if (!installed) return 'there is no node_modules yet';
  for (const [path, wanted] of Object.entries(packagesOf(join(root, 'package-lock.json')) ?? {})) {
    if (!path.includes('node_modules/')) continue;
    const found = installed[path];
    // An optional package may be for another platform, and is then rightly absent.
    if (!found && (wanted.optional || wanted.devOptional)) continue;
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    if (!found || !existsSync(join(root, path))) return `${name} is missing`;
    if (found.version !== wanted.version) return `${name} is ${found.version}, the lockfile says ${wanted.version}`;
  }
  return null;
}

export async function installDependencies(root, { say, signal, why }) {
  // Whatever the caller's NODE_ENV says: without the development dependencies nothing here can be built.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund'];
  await runNpm(args, { root, say, signal, what: `installing dependencies (${why})` });
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? null;
  } catch {
    return null; // absent, or cut off by a killed npm: both mean "install"
  }
}
