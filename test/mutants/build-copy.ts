import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';
import { markersIn, mutate } from './guard-edit.js';
import type { Mutant } from './mutant.js';

const COPIES = join(ROOT, '.infra', 'test', 'mutants');

/**
 * An unchanged copy of the build. The controls run it and the mutants are copied from it, so the edits are the only
 * difference between the two, even if the house is built meanwhile. Returns its root. Each spec file has its own copy,
 * because spec files run side by side.
 */
export function copyBuild(set: string): string {
  const asBuilt = join(COPIES, set, 'as-built');
  copyPackages(ROOT, asBuilt);
  return asBuilt;
}

/**
 * Copies that copy and changes it. Returns the root. Apps and shop that are started from there load the changed library,
 * because its packages are found before those of the house. All other packages are shared.
 */
export function buildMutant(asBuilt: string, { name, edits }: Mutant): string {
  const root = join(asBuilt, '..', name);
  copyPackages(asBuilt, root);
  const library = join(root, 'libs', 'dtx', 'dist');
  const built = readdirSync(library, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
  const read = (file: string) => readFileSync(join(library, file), 'utf8');
  const files = markersIn(built.map((file) => [file, read(file)]));
  for (const edit of edits) {
    const file = files.get(edit.guard);
    if (file === undefined) throw new Error(`the build has no marker of guard ${edit.guard}`);
    writeFileSync(join(library, file), mutate(read(file), edit));
  }
  return root;
}

function copyPackages(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  for (const folder of ['apps', 'libs']) {
    for (const one of readdirSync(join(from, folder))) copyPackage(join(from, folder, one), join(to, folder, one));
  }
  linkPackages(to);
}

/** Without source maps: the traces of changed code would show the unchanged source. */
function copyPackage(from: string, to: string): void {
  if (!existsSync(join(from, 'dist'))) return;
  const filter = (path: string) => !/\.(map|d\.ts|tsbuildinfo)$/.test(path);
  cpSync(join(from, 'dist'), join(to, 'dist'), { recursive: true, filter });
  cpSync(join(from, 'package.json'), join(to, 'package.json'));
  const own = join(from, 'node_modules');
  if (existsSync(own)) symlinkSync(own, join(to, 'node_modules'));
}

/** Node resolves a link to its target, so a package is loaded once, both for the copy and for other packages. */
function linkPackages(root: string): void {
  const packages = join(root, 'node_modules');
  const ours = ['nest-dtx', '@nest-dtx'];
  mkdirSync(join(packages, '@nest-dtx'), { recursive: true });
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.') && !ours.includes(name))
      symlinkSync(join(ROOT, 'node_modules', name), join(packages, name));
  }
  symlinkSync(join(root, 'libs', 'dtx'), join(packages, 'nest-dtx'));
  for (const name of ['host', 'shop']) symlinkSync(join(root, 'libs', name), join(packages, '@nest-dtx', name));
}
