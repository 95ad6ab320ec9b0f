import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from '../fixtures/app-process.js';

/** A piece of text that people read, and the line where it begins. A page and a comment are one piece each. */
export interface Text {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

export type Kind = 'docs' | 'titles' | 'strings' | 'comments';

/** The end of the names of Chinese pages. The package has `README-zh-CN.md`, because npm may show `README.zh-CN.md` as its README. */
export const CHINESE = /[.-]zh-CN\.md$/;

/** The English pages of the repository. */
export const englishPages = (): string[] => tracked('*.md').filter((file) => !CHINESE.test(file));

/** Files that git has, or would take; as paths from the root. */
export function tracked(...patterns: string[]): string[] {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '-z', '--', ...patterns];
  const found = execFileSync('git', list, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return [...new Set(found.split('\0'))].filter((file) => file !== '' && existsSync(join(ROOT, file))).sort();
}

export const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** The address of the repository, as the package names it. */
export function repositoryUrl(): string {
  const { repository } = JSON.parse(read('libs/dtx/package.json'));
  return repository.url.replace(/^git\+|\.git$/g, '');
}

const SOURCES = ['libs', 'apps', 'scripts', 'tools', 'test'].flatMap((folder) =>
  ['ts', 'mjs'].map((ending) => `${folder}/**/*.${ending}`),
);
/** The gate and its figures name the phrases. */
const GATE = /^test\/rules\/prose/;

/** Everything that is judged, by kind. Parsed, not searched: strings, comments and code are told apart. */
export function allTexts(): Record<Kind, Text[]> {
  const texts: Record<Kind, Text[]> = { docs: [], titles: [], strings: [], comments: [] };
  for (const file of englishPages()) texts.docs.push({ file, line: 1, text: read(file) });
  for (const file of tracked(...SOURCES.map((pattern) => `:(glob)${pattern}`))) {
    if (!GATE.test(file)) collect(file, read(file), texts);
  }
  return texts;
}

function collect(file: string, code: string, texts: Record<Kind, Text[]>): void {
  const source = ts.createSourceFile(file, code, ts.ScriptTarget.Latest, true);
  const isTest = /(^test\/|\.(e2e-)?spec\.ts$)/.test(file);
  const at = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const literals: Array<readonly [number, number]> = [];
  const visit = (node: ts.Node): void => {
    if (isTest && ts.isCallExpression(node)) {
      const title = titleOf(node);
      if (title) texts.titles.push({ file, line: at(title.getStart()), text: title.getText() });
    }
    if (isLiteral(node)) {
      literals.push([node.getStart(), node.getEnd()]);
      const isPath = ts.isImportDeclaration(node.parent) || ts.isExportDeclaration(node.parent);
      const isProse = /\w\s+\w/.test(node.getText()); // a single word is a name
      if (!isTest && !isPath && isProse && !ts.isRegularExpressionLiteral(node))
        texts.strings.push({ file, line: at(node.getStart()), text: node.getText() });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  texts.comments.push(...commentsOf(file, code, literals));
}

function isLiteral(node: ts.Node): boolean {
  return (
    ts.isStringLiteralLike(node) ||
    ts.isRegularExpressionLiteral(node) ||
    node.kind === ts.SyntaxKind.TemplateHead ||
    node.kind === ts.SyntaxKind.TemplateMiddle ||
    node.kind === ts.SyntaxKind.TemplateTail
  );
}

/** The title of `test('...')`, `describe('...')`, `test.each(rows)('...')` and their like. */
function titleOf(call: ts.CallExpression): ts.Node | undefined {
  let root: ts.Expression = call.expression;
  while (ts.isCallExpression(root) || ts.isPropertyAccessExpression(root) || ts.isTaggedTemplateExpression(root))
    root = ts.isTaggedTemplateExpression(root) ? root.tag : root.expression;
  const [first] = call.arguments;
  if (!ts.isIdentifier(root) || !/^(test|it|describe)$/.test(root.text)) return undefined;
  return first && (ts.isStringLiteralLike(first) || ts.isTemplateExpression(first)) ? first : undefined;
}

/** Outside the given literals. Line comments that follow each other are one piece. */
function commentsOf(file: string, code: string, literals: ReadonlyArray<readonly [number, number]>): Text[] {
  const found: Text[] = [];
  let next = 0;
  for (let at = 0; at < code.length; at++) {
    while (next < literals.length && literals[next]![1] <= at) next += 1;
    const literal = literals[next];
    if (literal && at >= literal[0]) {
      at = literal[1] - 1;
      continue;
    }
    COMMENT.lastIndex = at;
    const text = code[at] === '/' ? COMMENT.exec(code)?.[0] : undefined;
    if (text === undefined) continue;
    found.push({ file, line: code.slice(0, at).split('\n').length, text });
    at += text.length - 1;
  }
  return found;
}
const COMMENT = /\/\*[\s\S]*?\*\/|\/\/.*(\n\s*\/\/.*)*/y;

/** A page as its sentences, without code, tables' rules, links' targets and marks of Markdown. */
export function sentencesOf(file: string): Text[] {
  const sentences: Text[] = [];
  for (const { line, text } of blocksOf(file))
    for (const sentence of text.split(/(?<=[.!?])\s+(?=["'(*]?[A-Z`])/)) sentences.push({ file, line, text: sentence });
  return sentences;
}

/** Paragraphs, list items, headings and cells: pieces that no sentence runs across. */
function blocksOf(file: string): Array<{ line: number; text: string }> {
  const blocks: Array<{ line: number; text: string }> = [];
  let isCode = false;
  let open: { line: number; text: string } | undefined;
  for (const [index, raw] of read(file).split('\n').entries()) {
    const text = raw.trim();
    if (text.startsWith('```')) isCode = !isCode;
    const isNew = text === '' || isCode || /^([-*#>|]|\d+\.|```|<)/.test(text);
    if (isNew) open = undefined;
    if (text === '' || isCode || text.startsWith('```')) continue;
    const prose = text.replace(/^(#+|[-*>]|\d+\.)\s+/, '');
    if (text.startsWith('|')) {
      for (const cell of prose.split('|')) blocks.push({ line: index + 1, text: plain(cell) });
    } else if (open) open.text += ` ${plain(prose)}`;
    else {
      open = { line: index + 1, text: plain(prose) };
      blocks.push(open);
    }
  }
  return blocks.filter(({ text }) => text.trim() !== '');
}

/** A run of names in code counts as one word. */
function plain(text: string): string {
  return text
    .replace(/(`[^`]*`[\s,/]*)+/g, 'X ')
    .replace(/\]\([^)]*\)/g, ']')
    .replace(/<!--.*-->/g, '')
    .replace(/&\w+;/g, ' ');
}
