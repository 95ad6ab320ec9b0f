import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import * as answers from '../core/broker/gathered-answers.mutants.js';
import * as copies from '../core/consumer/recent-copies.mutants.js';
import * as deferred from '../core/database/deferred-statements.mutants.js';
import * as shared from '../core/database/shared-transactions.mutants.js';
import * as unguarded from '../core/database/without-transaction-guard.mutant.js';
import * as waiting from '../core/durable/copies-of-waiting-messages.mutants.js';
import { ROOT } from '../fixtures/app-process.js';
import * as delayedMessage from './delayed-message.mutants.js';
import { bareNames, markersIn, mutate } from './guard-edit.js';
import * as halfMessage from './half-message.mutants.js';
import * as keyed from './keyed.mutants.js';
import * as localMessage from './local-message.mutants.js';
import type { Mutant } from './mutant.js';
import * as notify from './notify.mutants.js';
import * as confirmedPublish from './redis-claims.mutants.js';
import * as saga from './saga.mutants.js';
import * as tcc from './tcc.mutants.js';
import * as xa from './xa.mutants.js';
import * as xaLog from './xa-log.mutants.js';

/** Every mutant under the name that it is exported by. */
const MUTANTS = [
  answers,
  copies,
  deferred,
  shared,
  unguarded,
  waiting,
  confirmedPublish,
  delayedMessage,
  halfMessage,
  keyed,
  localMessage,
  notify,
  saga,
  tcc,
  xa,
  xaLog,
]
  .flatMap((file) => Object.entries<unknown>(file))
  .filter((entry): entry is [string, Mutant] => typeof entry[1] === 'object');
const SOURCE = join(ROOT, 'libs', 'dtx', 'src');

/** The marked files as the build emits them, which is looked at here without a build. */
const built = new Map(
  readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
    .map((file) => [file, readFileSync(join(SOURCE, file), 'utf8')] as const)
    .filter(([, text]) => text.includes('// guard: '))
    .map(([file, text]) => [file, emitted(text).text] as const),
);

function emitted(text: string): { text: string; problems: string[] } {
  const { options } = ts.convertCompilerOptionsFromJson(
    { target: 'ES2023', module: 'CommonJS', experimentalDecorators: true },
    ROOT,
  );
  const { outputText, diagnostics = [] } = ts.transpileModule(text, {
    compilerOptions: options,
    reportDiagnostics: true,
  });
  return { text: outputText, problems: diagnostics.map(({ messageText }) => String(messageText)) };
}

/** What a set of edits makes of the build: the changed files. */
function changed({ edits }: Mutant): Map<string, string> {
  const files = markersIn(built);
  const result = new Map<string, string>();
  for (const edit of edits) {
    const file = files.get(edit.guard);
    if (file === undefined) throw new Error(`the library has no marker of guard ${edit.guard}`);
    result.set(file, mutate(result.get(file) ?? built.get(file)!, edit));
  }
  return result;
}

/** Imported names that changed code reads as variables, which CommonJS code does not have. */
function unknownImports(file: string, text: string): string[] {
  const imports = readFileSync(join(SOURCE, file), 'utf8').matchAll(/^import (?:type )?\{([^}]*)\}/gm);
  const imported = new Set([...imports].flatMap(([, names]) => names!.match(/\w+/g) ?? []));
  const namesOf = (code: string) => bareNames(code).flatMap(({ name }) => (imported.has(name) ? [name] : []));
  const before = new Set(namesOf(built.get(file)!));
  return namesOf(text).filter((name) => !before.has(name));
}

describe('the mutants of the library', () => {
  test.each(MUTANTS)('every edit of %s has its place in the emitted code and leaves it well formed', (_, mutant) => {
    const files = changed(mutant);
    expect(files.size).toBeGreaterThan(0);
    for (const [file, text] of files) {
      expect(text, file).not.toBe(built.get(file));
      expect(emitted(text).problems, file).toEqual([]);
      expect(unknownImports(file, text), file).toEqual([]);
    }
  });

  test('every marker of the library is named by an edit', () => {
    const named = new Set(MUTANTS.flatMap(([, { edits }]) => edits.map(({ guard }) => guard)));
    expect([...markersIn(built).keys()].filter((guard) => !named.has(guard))).toEqual([]);
  });

  test('every mutant has a name of its own', () => {
    const names = MUTANTS.map(([, { name }]) => name).sort();
    expect(names).toEqual([...new Set(names)]);
  });

  test('every mutant is played', () => {
    const core = join(import.meta.dirname, '..', 'core');
    const folders = [
      import.meta.dirname,
      ...['broker', 'database', 'consumer', 'durable'].map((room) => join(core, room)),
    ];
    const files = folders.flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)));
    const plays = files.filter((file) => /\.(scenarios|long\.e2e-spec|component-spec)\.ts$/.test(file));
    const code = plays.map((file) => readFileSync(file, 'utf8').replace(/^import [^;]*;/gm, ''));
    const words = new Set(code.join(' ').match(/\w+/g));
    expect(MUTANTS.map(([name]) => name).filter((name) => !words.has(name))).toEqual([]);
  });
});
