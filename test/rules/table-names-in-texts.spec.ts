import ts from 'typescript';
import { expect, test } from 'vitest';
import { read, tracked } from './repository-texts.js';

/**
 * The sessions of the library translate the table names of its statements, and nothing translates a text. So an error, an
 * alert or a log line takes the name from `TableNames.inDatabase`. Otherwise it names a table that does not exist with a `tablePrefix`.
 */
const sources = new Map(
  tracked(':(glob)libs/dtx/src/**/*.ts')
    .filter((file) => !file.endsWith('.spec.ts'))
    .map((file) => [file, read(file)]),
);
const created = [...sources.values()].flatMap((code) => [
  ...code.matchAll(/CREATE TABLE IF NOT EXISTS dtx_([a-z_]+)/g),
]);
const tables = [...new Set(created.map(([, name]) => name!))];
const TABLE = new RegExp(`\\bdtx_(${tables.join('|')})\\b`);
const STATEMENT = /\b(SELECT|INSERT|UPDATE|DELETE|REPLACE|FROM|JOIN|CREATE|ALTER)\b/;

/** Texts that name a table among other words, and are not statements. */
function textsNaming(code: string): string[] {
  if (!TABLE.test(code)) return [];
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const text = textOf(node);
    if (TABLE.test(text) && /\s/.test(text) && !STATEMENT.test(text)) found.push(text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('code.ts', code, ts.ScriptTarget.Latest));
  return found;
}

/** The words of a literal. A template is one text with gaps, because a statement may have its verb before a gap. */
function textOf(node: ts.Node): string {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return '';
  return [node.head, ...node.templateSpans.map(({ literal }) => literal)].map(({ text }) => text).join('...');
}

test('no text of the library names a table by its name in the code', () => {
  const statements = "query('DELETE FROM dtx_xa'); insertFirst(sql, 'dtx_xa');";
  expect(textsNaming(`raise('dtx_xa lacks its row'); ${statements}`)).toEqual(['dtx_xa lacks its row']);
  expect(tables.length).toBeGreaterThan(10);
  const found = [...sources].flatMap(([file, code]) => textsNaming(code).map((text) => `${file}: ${text}`));
  expect(found).toEqual([]);
});
