import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../support/app-process.js';
import { read } from './texts.js';

/** Writes libs/dtx/api.md: each exported name of each subpath with its declaration, from the built .d.ts files. */
const LIBRARY = 'libs/dtx';
const HEAD = `# Public API

<!-- Generated from the built declarations. Write it anew with: npm run build && npx vitest run test/rules/api-report.spec.ts -u -->

Each section is a subpath of \`exports\` in \`package.json\`. Private members and doc comments are left out.
`;

/** A name, and where its declaration is. */
interface Export {
  readonly name: string;
  readonly file: string;
  readonly local: string;
}

export function apiReport(): string {
  const { name, exports } = JSON.parse(read(`${LIBRARY}/package.json`));
  const sections = Object.entries<{ types?: string }>(exports)
    .filter(([, target]) => target.types !== undefined)
    .map(([path, { types }]) => sectionOf(join(name, path), join(LIBRARY, types!)));
  return [HEAD, ...sections].join('\n');
}

function sectionOf(subpath: string, entry: string): string {
  const exported = exportsOf(entry).sort((one, other) => (one.name < other.name ? -1 : 1));
  const texts = exported.map(({ name, file, local }) => {
    const as = name === local ? '' : `// ${local} as ${name}\n`;
    return as + declarationsOf(file, local).join('\n');
  });
  return `## ${subpath}\n\n${exported.length} names.\n\n\`\`\`ts\n${texts.join('\n\n')}\n\`\`\`\n`;
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
  const from = moduleSpecifier ? resolved(file, (moduleSpecifier as ts.StringLiteral).text) : file;
  if (!exportClause) return exportsOf(from);
  if (!ts.isNamedExports(exportClause)) return [];
  return exportClause.elements.map(({ name, propertyName }) => {
    const local = (propertyName ?? name).text;
    const origin = from === file ? undefined : exportsOf(from).find((one) => one.name === local);
    return { name: name.text, file: origin?.file ?? from, local: origin?.local ?? local };
  });
}

function resolved(file: string, specifier: string): string {
  return join(dirname(file), specifier.replace(/\.js$/, '.d.ts'));
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

const printer = ts.createPrinter({ removeComments: true });

function textOf(statement: ts.Statement): string {
  const shown = ts.isClassDeclaration(statement) ? withoutPrivates(statement) : statement;
  const text = printer.printNode(ts.EmitHint.Unspecified, shown, statement.getSourceFile());
  return text.replace(/^export (declare )?/, '').replace(/^ {4,}/gm, (indent) => ' '.repeat(indent.length / 2));
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
