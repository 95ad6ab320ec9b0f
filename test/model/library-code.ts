// Loads code of the library for a model, as it is or with a guard taken out by the edits of a mutant.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../fixtures/app-process.js';
import { type Edit, mutate } from '../mutants/guard-edit.js';

const SOURCE = join(ROOT, 'libs', 'dtx', 'src');

/**
 * Loads one file of the library. Its imports are the usual modules.
 * @param edits those whose guard is in this file are applied
 * @param instead other modules for some imports, by the end of their path
 */
export async function libraryCode<Module>(
  file: string,
  edits: readonly Edit[] = [],
  instead: Readonly<Record<string, Record<string, unknown>>> = {},
): Promise<Module> {
  const text = readFileSync(join(SOURCE, file), 'utf8');
  const options = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.CommonJS, experimentalDecorators: true };
  const emitted = ts.transpileModule(text, { compilerOptions: { ...options, esModuleInterop: true } }).outputText;
  const own = edits.filter(({ guard }) => text.includes(`// guard: ${guard}\n`));
  const changed = own.reduce((code, edit) => mutate(code, edit), emitted);
  const loaded = new Map<string, unknown>();
  for (const [, path] of changed.matchAll(/require\("([^"]+)"\)/g))
    loaded.set(path!, await importOf(file, path!, instead));
  const exports = {};
  new Function('require', 'exports', changed)((path: string) => loaded.get(path), exports);
  return exports as Module;
}

async function importOf(file: string, path: string, instead: Readonly<Record<string, Record<string, unknown>>>) {
  const other = Object.keys(instead).find((end) => path.endsWith(end));
  if (other) return instead[other];
  if (!path.startsWith('.')) return import(path);
  return import(join(SOURCE, file, '..', path.replace(/\.js$/, '.ts')));
}
