// Files of the commands. They all lie in `.infra/<name>/` of the repository.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { codeOf, messageOf } from './cli/error-text.js';
import { OperatorError } from './cli/operator-error.js';

/** The repository. Sources and build lie equally deep in it. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** The folder of a set of servers. */
export function placeOf(name: string): string {
  if (!/^[a-z0-9][a-z0-9_-]{0,39}$/.test(name)) {
    throw new OperatorError(`"${name}" cannot name a set of servers: use 1 to 40 of a-z, 0-9, _ and -, such as demo`);
  }
  return join(ROOT, '.infra', name);
}

/**
 * Makes a folder that only its owner may look into, since passwords are kept there. An existing folder keeps its mode.
 * The files with passwords are private by themselves.
 */
export function makePrivateDir(dir: string): string {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** Written beside and renamed, so that a reader (or a crash) never meets half a file. */
export function writePrivateFile(path: string, text: string): void {
  const beside = `${path}.${process.pid}.new`;
  rmSync(beside, { force: true });
  writeFileSync(beside, text, { mode: 0o600 });
  renameSync(beside, path);
}

/** The caller names the type: these files are written by the commands themselves. Null if the file does not exist. */
export function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return null;
    throw new OperatorError(`cannot read ${path}: ${messageOf(error)}; repair it, or remove it with its folder`);
  }
}

export const writeJson = (path: string, value: unknown): void =>
  writePrivateFile(path, `${JSON.stringify(value, null, 2)}\n`);
