import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';

export interface Edit {
  /** Path below `libs/dtx/dist`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** The library with one safety mechanism taken out, the way somebody might have written it. */
export interface Mutant {
  readonly name: string;
  /** What it does instead. */
  readonly does: string;
  /** What its user loses by it. */
  readonly breaks: string;
  /** Part of the failure by which it is found: one that fails in any other way has not been found. */
  readonly foundBy: string;
  readonly edits: readonly Edit[];
}

/** @throws Error unless the text to find is there exactly once: an edit that has lost its place would prove nothing */
export function mutate(text: string, { file, find, replace }: Edit): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} places, not one, that read: ${find}`);
  return parts.join(replace);
}

const COPIES = join(ROOT, '.infra', 'test', 'mutants');

/**
 * An unchanged copy of the build, which the controls run and the mutants are copied from: the edits are then the only
 * difference between the two, even if somebody builds meanwhile. Returns its root; spec files that run side by side have
 * one each.
 */
export function copyBuild(set: string): string {
  const asBuilt = join(COPIES, set, 'as-built');
  copyPackages(ROOT, asBuilt);
  return asBuilt;
}

/**
 * Copies that copy and changes it. Returns the root: started from there, apps and shop load the changed library, since
 * its packages are found before those of the house; all other packages are the very same ones.
 */
export function buildMutant(asBuilt: string, { name, edits }: Mutant): string {
  const root = join(asBuilt, '..', name);
  copyPackages(asBuilt, root);
  for (const edit of edits) {
    const file = join(root, 'libs', 'dtx', 'dist', edit.file);
    writeFileSync(file, mutate(readFileSync(file, 'utf8'), edit));
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

/** Without source maps: they would show the unchanged source in the traces of changed code. */
function copyPackage(from: string, to: string): void {
  if (!existsSync(join(from, 'dist'))) return;
  const filter = (path: string) => !/\.(map|d\.ts|tsbuildinfo)$/.test(path);
  cpSync(join(from, 'dist'), join(to, 'dist'), { recursive: true, filter });
  cpSync(join(from, 'package.json'), join(to, 'package.json'));
  const own = join(from, 'node_modules');
  if (existsSync(own)) symlinkSync(own, join(to, 'node_modules'));
}

/** Node resolves a link to its target, so a package is loaded once, whether the copy or another package asks for it. */
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
