// The names of spec files tell which of them need servers. vitest.config.ts makes its projects of the same names.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../infra/place.mjs';

const FOLDERS = ['libs', 'apps', 'test'];
const UNIT = /\.spec\.ts$/;
const SPEC = /[.-]spec\.ts$/;

/**
 * Tells whether a run needs servers. It does not if every spec file that the arguments name is a unit spec.
 * @param {string[]} args filters and options of vitest
 */
export function needsServers(args) {
  const projects = args.flatMap((arg, index) => projectOf(arg, args[index + 1]));
  if (projects.length > 0) return projects.some((name) => name !== 'unit');
  const isFilter = (arg, index) => !arg.startsWith('-') && !['-t', '--testNamePattern'].includes(args[index - 1]);
  const filters = args.filter(isFilter).map((arg) => arg.replace(/:\d+$/, ''));
  const named = specFiles().filter((file) => filters.some((filter) => matches(file, filter)));
  return named.length === 0 || !named.every((file) => UNIT.test(file));
}

/** vitest takes a part of the path, from the root or absolute. */
const matches = (file, filter) => join(ROOT, file).includes(filter.replace(/^\.\//, ''));

function projectOf(arg, next) {
  if (arg === '--project') return [next];
  return arg.startsWith('--project=') ? [arg.slice('--project='.length)] : [];
}

function specFiles() {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true })
      .filter((file) => SPEC.test(file) && !/(^|\/)(dist|node_modules)\//.test(file))
      .map((file) => join(folder, file)),
  );
}
