// The docstrings of the options. They stand once, in each options.ts, and docs/configuration.md is generated from them too.
import ts from 'typescript';
import { z } from 'zod';

/** The comments of all properties in the text of an options.ts, by path. */
export function docsOf(text) {
  const source = ts.createSourceFile('options.ts', text, ts.ScriptTarget.Latest, true);
  const docs = new Map();
  const visit = (node, path) => {
    const isProperty = ts.isPropertyAssignment(node);
    const name = isProperty ? path + node.name.getText() : path;
    const comments = ts.getJSDocCommentsAndTags(node).map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '');
    const comment = comments.join(' ').replace(/\s+/g, ' ').trim();
    if (isProperty && comment !== '' && !docs.has(name)) docs.set(name, comment);
    ts.forEachChild(node, (child) => visit(child, isProperty ? `${name}.` : path));
  };
  visit(source, '');
  return docs;
}

/**
 * Returns the declarations of an options.ts with a docstring at each field. TypeScript writes none, because it infers the
 * type from the schema. A docstring is the comment in the source, and the default of the schema with its unit.
 * @param docs comments by path, and those of a backoff by its fields alone
 * @param schemas schemas by the names of their constants
 */
export function withOptionDocs(declarations, docs, schemas) {
  const source = ts.createSourceFile('options.d.ts', declarations, ts.ScriptTarget.Latest, true);
  const inserts = [];
  const visit = (node, path, json) => {
    const isField = ts.isPropertySignature(node);
    const names = isField ? [...path, node.name.getText()] : path;
    const field = isField ? json?.properties?.[names.at(-1)] : json;
    const doc =
      docs.get(names.join('.')) ?? (json?.properties && 'firstMs' in json.properties && docs.get(names.at(-1)));
    if (isField && doc) inserts.push([node.getStart(), `/** ${doc}${defaultOf(names.at(-1), field)} */\n`]);
    ts.forEachChild(node, (child) => visit(child, names, field));
  };
  for (const statement of source.statements.filter(ts.isVariableStatement))
    for (const one of statement.declarationList.declarations) {
      const schema = schemas[one.name.getText()];
      if (schema instanceof z.ZodObject)
        visit(one, [], z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }));
    }
  return inserts.reduceRight(
    (text, [at, doc]) => text.slice(0, at) + doc + indentOf(text, at) + text.slice(at),
    declarations,
  );
}

const indentOf = (text, at) => ' '.repeat(at - text.lastIndexOf('\n', at - 1) - 1);

const UNITS = [
  [/Ms$/, ' ms'],
  [/Seconds$/, ' s'],
  [/Bytes$/, ' bytes'],
];

/** A group of options states its defaults at its fields. */
function defaultOf(name, json) {
  if (json?.default === undefined || json.properties) return '';
  const unit = UNITS.find(([ending]) => ending.test(name))?.[1] ?? '';
  const words = unit === ' ms' ? inWords(json.default) : '';
  return ` Default: \`${JSON.stringify(json.default).replaceAll(',', ', ')}\`${unit}${words}.`;
}

const LONGER_THAN_MS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
];

/** Returns ` (8 d)` for so many milliseconds, and nothing for a list or a time that is not a whole number of a longer unit. */
export function inWords(ms) {
  const unit = LONGER_THAN_MS.find(([size]) => ms >= size && ms % size === 0);
  return unit ? ` (${ms / unit[0]} ${unit[1]})` : '';
}
