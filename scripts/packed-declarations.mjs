// The declarations of the tarball: docstrings only where a user of the library sees them, and two spaces of indentation.
import { resolve } from 'node:path';
import ts from 'typescript';

const OPTIONS = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  noLib: true,
  types: [],
};

/**
 * Returns the text of each declaration file. Private members have no docstrings, nor have classes, functions and constants
 * that no entry exports. Types keep theirs, because signatures of exported names use them.
 */
export function withoutInnerDocs(entries, files) {
  const program = ts.createProgram(entries, OPTIONS);
  const shown = exportedBy(program, entries);
  return files.map((file) => {
    const source = program.getSourceFile(resolve(file)) ?? program.getSourceFile(file);
    const hidden = source.statements.flatMap((statement) => {
      if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) return [];
      return isIn(shown, statement) ? privatesOf(statement) : [statement];
    });
    return [file, halfIndented(without(docsIn(hidden), source.text))];
  });
}

/** The declarations that the entries export, followed to where they are. */
function exportedBy(program, entries) {
  const checker = program.getTypeChecker();
  const symbols = entries.flatMap((entry) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
    return checker.getExportsOfModule(module);
  });
  const followed = symbols.map((one) => (one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one));
  return new Set(followed.flatMap(({ declarations = [] }) => declarations));
}

const isIn = (shown, statement) =>
  ts.isVariableStatement(statement)
    ? statement.declarationList.declarations.some((one) => shown.has(one))
    : shown.has(statement);

const privatesOf = (statement) =>
  ts.isClassDeclaration(statement)
    ? statement.members.filter((one) => ts.getCombinedModifierFlags(one) & ts.ModifierFlags.Private)
    : [];

/** The ranges of all docstrings on these nodes and inside. */
function docsIn(nodes) {
  const found = [];
  const visit = (node) => {
    for (const { pos, end } of node.jsDoc ?? []) found.push([pos, end]);
    ts.forEachChild(node, visit);
  };
  for (const node of nodes) visit(node);
  return found;
}

/** A docstring has lines of its own, which go with it. */
function without(ranges, text) {
  let rest = text;
  for (const [pos, end] of ranges.sort(([one], [other]) => other - one)) {
    const after = rest.slice(end).replace(/^[ \t]*\n/, '');
    rest = rest.slice(0, pos).replace(/[ \t]*$/, '') + after;
  }
  return rest;
}

const halfIndented = (text) => text.replace(/^( {4})+/gm, (indent) => ' '.repeat(indent.length / 2));
