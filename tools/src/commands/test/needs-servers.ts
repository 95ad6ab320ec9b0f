// The names of spec files tell which of them need servers. `vitest.config.ts` uses the same names.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../infra-files.js';

const FOLDERS = ['libs', 'apps', 'tools', 'test'];
const UNIT = /\.spec\.ts$/;
const SPEC = /[.-]spec\.ts$/;

/** False if every spec file that the arguments of vitest name is a unit spec. */
export function needsServers(args: readonly string[]): boolean {
  const projects = args.flatMap((arg, index) => projectOf(arg, args[index + 1]));
  if (projects.length > 0) return projects.some((name) => name !== 'unit');
  const isFilter = (arg: string, index: number) =>
    !arg.startsWith('-') && !['-t', '--testNamePattern'].includes(args[index - 1] ?? '');
  const filters = args.filter(isFilter).map((arg) => arg.replace(/:\d+$/, ''));
  const named = specFiles().filter((file) => filters.some((filter) => matches(file, filter)));
  return named.length === 0 || !named.every((file) => UNIT.test(file));
}

/** vitest takes a part of the path, from the root or absolute. */
const matches = (file: string, filter: string) => join(ROOT, file).includes(filter.replace(/^\.\//, ''));

function projectOf(arg: string, next: string | undefined): string[] {
  if (arg === '--project') return next === undefined ? [] : [next];
  return arg.startsWith('--project=') ? [arg.slice('--project='.length)] : [];
}

function specFiles(): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => SPEC.test(file) && !/(^|\/)(dist|node_modules)\//.test(file))
      .map((file) => join(folder, file)),
  );
}
