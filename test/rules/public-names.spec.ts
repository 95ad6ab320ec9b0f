import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { read } from './repository-texts.js';

/** The docstring of each exported name of the library, and the example of each value. Editors show both. */
const LIBRARY = join(ROOT, 'libs', 'dtx');
const LIMIT_MS = 120_000;
/** Nest calls these methods. */
const HOOKS = /^(onModule|onApplication|beforeApplication)/;

const program = programOf(join(LIBRARY, 'tsconfig.json'));
const checker = program.getTypeChecker();
const names = new Map(entries().flatMap((entry) => exportsOf(entry)));

function programOf(config: string): ts.Program {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const { fileNames, options } = ts.getParsedCommandLineOfConfigFile(config, {}, host)!;
  return ts.createProgram(fileNames, options);
}

function has(symbol: ts.Symbol, tag: string): boolean {
  return symbol.getJsDocTags(checker).some(({ name }) => name === tag);
}

/** The source files of the package's entries. */
function entries(): string[] {
  const exports: Record<string, { default?: { types: string } }> = JSON.parse(read('libs/dtx/package.json')).exports;
  const built = Object.values(exports).flatMap((target) => target.default?.types ?? []);
  return built.map((file) => join(LIBRARY, file.replace('/dist/', '/src/').replace(/\.d\.ts$/, '.ts')));
}

/** The exported names that are not deprecated, with their declarations. */
function exportsOf(entry: string): Array<[string, ts.Symbol]> {
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
  const all = checker.getExportsOfModule(module).map((one): [ts.Symbol, ts.Symbol] => {
    const isAlias = (one.flags & ts.SymbolFlags.Alias) !== 0;
    return [one, isAlias ? checker.getAliasedSymbol(one) : one];
  });
  const current = all.filter((pair) => !pair.some((symbol) => has(symbol, 'deprecated')));
  return current.map(([{ name }, symbol]) => [name, symbol]);
}

const textOf = (symbol: ts.Symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker));
const isClass = (symbol: ts.Symbol) => (symbol.flags & ts.SymbolFlags.Class) !== 0;
const isValue = (symbol: ts.Symbol) => (symbol.flags & ts.SymbolFlags.Value) !== 0;

/** The methods of a class that a caller may call, also static ones. */
function methodsOf(symbol: ts.Symbol): ts.Symbol[] {
  const members = [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])];
  return members.filter(({ valueDeclaration: node, name }) => {
    if (!node || !ts.isMethodDeclaration(node) || HOOKS.test(name)) return false;
    return (ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Private) === 0;
  });
}

test('the rule of docstrings sees classes, functions, constants and types', () => {
  expect([...names.keys()]).toEqual(expect.arrayContaining(['LocalMessages', 'queuesOf', 'opsCalls', 'TccRun']));
});

test(
  'each exported name has a docstring',
  () => {
    const missing = [...names].filter(([, symbol]) => textOf(symbol) === '');
    expect(missing.map(([name]) => name)).toEqual([]);
  },
  LIMIT_MS,
);

test(
  'each public method of an exported class has a docstring',
  () => {
    const missing = [...names].flatMap(([name, symbol]) => {
      const bare = isClass(symbol) ? methodsOf(symbol).filter((method) => isBare(method)) : [];
      return bare.map((method) => `${name}.${method.name}`);
    });
    expect(missing).toEqual([]);
  },
  LIMIT_MS,
);

/** A method may say all that is special about it in its `@throws`. */
const isBare = (method: ts.Symbol) => textOf(method) === '' && !has(method, 'throws');

/** A line that begins with `@` begins another tag, which leaves the example before it empty in an editor. */
function isShown(symbol: ts.Symbol): boolean {
  const examples = symbol.getJsDocTags(checker).filter(({ name }) => name === 'example');
  return examples.some(({ text }) => ts.displayPartsToString(text).trim() !== '');
}

test(
  'each exported class, function and constant has an example, on itself or a method',
  () => {
    const values = [...names].filter(([, symbol]) => isValue(symbol));
    const missing = values.filter(([, symbol]) => ![symbol, ...methodsOf(symbol)].some((one) => isShown(one)));
    expect(missing.map(([name]) => name)).toEqual([]);
  },
  LIMIT_MS,
);
