import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../fixtures/app-process.js';
import { read } from './repository-texts.js';

/** Writes libs/dtx/api.md: each exported name of each subpath with its declaration, from the built .d.ts files. */
const LIBRARY = 'libs/dtx';
const HEAD = `# Public API

<!-- Generated from the built declarations. Write it anew with: npm run build && npx vitest run test/rules/api-report.spec.ts -u -->

Each section is a subpath of \`exports\` in \`package.json\`. Private members are left out. A comment gives
the meaning of its name, the units of numbers, the errors and an example.
`;

/** A name, and where its declaration is. */
interface Export {
  readonly name: string;
  readonly file: string;
  readonly local: string;
}

export function apiReport(): string {
  const { name, exports } = JSON.parse(read(`${LIBRARY}/package.json`));
  const entries = Object.entries<{ default?: { types: string } }>(exports).filter(([, target]) => target.default);
  const surfaces = entries.map(
    ([path, target]) => [join(name, path), surfaceOf(join(LIBRARY, target.default!.types))] as const,
  );
  const [root, ...subpaths] = surfaces;
  const known = new Set(subpaths.flatMap(([, surface]) => [...surface.keys()]));
  return [HEAD, sectionOf(root!, known), ...subpaths.map((surface) => sectionOf(surface))].join('\n');
}

type Surface = ReadonlyMap<string, Export>;

/** By name, in order. A type and a value of one name are one. */
function surfaceOf(entry: string): Surface {
  const byName = new Map(exportsOf(entry).map((one) => [one.name, one]));
  return new Map([...byName].sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** @param elsewhere names that another section declares: they are only listed here */
function sectionOf([subpath, surface]: readonly [string, Surface], elsewhere: ReadonlySet<string> = new Set()): string {
  const declared = [...surface.values()].filter(({ name }) => !elsewhere.has(name));
  const listed = [...surface.keys()].filter((name) => elsewhere.has(name)).map((name) => `\`${name}\``);
  const texts = declared.map(({ name, file, local }) => {
    const as = name === local ? '' : `// ${local} as ${name}\n`;
    return as + declarationsOf(file, local).join('\n');
  });
  const also = listed.length > 0 ? `\nAlso, from the subpaths below: ${listed.join(', ')}.\n` : '';
  return `## ${subpath}\n\n${surface.size} names.\n\n\`\`\`ts\n${texts.join('\n\n')}\n\`\`\`\n${also}`;
}

const sources = new Map<string, ts.SourceFile>();

function sourceOf(file: string): ts.SourceFile {
  if (!existsSync(join(ROOT, file))) throw new Error(`${file} is missing: run npm run build first`);
  const known = sources.get(file) ?? ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true);
  sources.set(file, known);
  return known;
}

const isExported = (node: ts.Node) =>
  ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);

/** All names that a file gives away, followed to where they are declared. */
function exportsOf(file: string): Export[] {
  return sourceOf(file).statements.flatMap((statement) => {
    if (ts.isExportDeclaration(statement)) return reExports(file, statement);
    if (!isExported(statement)) return [];
    return namesOf(statement).map((name) => ({ name, file, local: name }));
  });
}

function reExports(file: string, { moduleSpecifier, exportClause }: ts.ExportDeclaration): Export[] {
  const from = moduleSpecifier && resolved(file, moduleSpecifier);
  if (!exportClause) return from ? exportsOf(from) : [];
  if (!ts.isNamedExports(exportClause)) return [];
  return exportClause.elements.map(({ name, propertyName }) => {
    const local = (propertyName ?? name).text;
    return { ...(from ? exportOf(from, local) : importOf(file, local)), name: name.text };
  });
}

function exportOf(file: string, name: string): Export {
  return exportsOf(file).find((one) => one.name === name) ?? { name, file, local: name };
}

/** Where a name that a file exports without `from` is declared: there, or in the file that it was imported from. */
function importOf(file: string, local: string): Export {
  for (const statement of sourceOf(file).statements) {
    if (!ts.isImportDeclaration(statement)) continue;
    const bindings = statement.importClause?.namedBindings;
    const found = bindings && ts.isNamedImports(bindings) && bindings.elements.find(({ name }) => name.text === local);
    if (found) return exportOf(resolved(file, statement.moduleSpecifier), (found.propertyName ?? found.name).text);
  }
  return { name: local, file, local };
}

function resolved(file: string, specifier: ts.Expression): string {
  return join(dirname(file), (specifier as ts.StringLiteral).text.replace(/\.js$/, '.d.ts'));
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  const { name } = statement as ts.Statement & { name?: ts.Identifier };
  return name ? [name.text] : [];
}

/** As the build has written them: overloads, and a class beside an interface, are several. */
function declarationsOf(file: string, local: string): string[] {
  const found = sourceOf(file).statements.filter((statement) => namesOf(statement).includes(local));
  if (found.length === 0) throw new Error(`${file} does not declare ${local}`);
  return found.map((statement) => textOf(statement));
}

const printer = ts.createPrinter();

function textOf(statement: ts.Statement): string {
  const shown = ts.isClassDeclaration(statement) ? withoutPrivates(statement) : statement;
  const text = printer.printNode(ts.EmitHint.Unspecified, shown, statement.getSourceFile());
  return text
    .replace(/^export (declare )?/m, '')
    .replace(/^( {4})+/gm, (indent) => ' '.repeat(indent.length / 2))
    .replace(/^(\s*)\/\*\*\n\s*\* ([^\n]*)\n\s*\*\/$/gm, '$1/** $2 */');
}

function withoutPrivates(node: ts.ClassDeclaration): ts.ClassDeclaration {
  const members = node.members.filter((member) => {
    const modifiers = ts.canHaveModifiers(member) ? ts.getModifiers(member) : undefined;
    const isPrivate = modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword);
    return !isPrivate && !(member.name && ts.isPrivateIdentifier(member.name));
  });
  const { modifiers, name, typeParameters, heritageClauses } = node;
  return ts.factory.updateClassDeclaration(node, modifiers, name, typeParameters, heritageClauses, members);
}
