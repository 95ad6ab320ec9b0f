import ts from 'typescript';

/** Stands for the guarded code itself in `becomes`. */
export const GUARDED = '/* guarded */';

/**
 * One change of the build. It names the marker `// guard: <name>` in the library's source. The guarded code is the
 * statement, or the property of an object, right after the marker.
 */
export type Edit = { readonly guard: string } & (
  | {
      /** The code that takes its place. Empty: the guarded code is taken out. */
      readonly becomes: string;
    }
  | {
      /** The condition of the guarded `if`. */
      readonly condition: string;
    }
  | {
      /** A word of another language in it (SQL, AMQP), and its replacement. */
      readonly swap: readonly [find: string, replace: string];
    }
);

const MARKER = /^[ \t]*\/\/ guard: (\S+)$/gm;

/** Every marker of these files: which file holds it. @throws Error for a guard that is marked twice */
export function markersIn(files: Iterable<readonly [file: string, text: string]>): Map<string, string> {
  const found = new Map<string, string>();
  for (const [file, text] of files) {
    for (const [, guard] of text.matchAll(MARKER)) {
      if (found.has(guard!)) throw new Error(`guard ${guard} is marked twice: in ${found.get(guard!)} and in ${file}`);
      found.set(guard!, file);
    }
  }
  return found;
}

/** Applies an edit to the file with its marker. @throws Error when the edit has lost its place */
export function mutate(text: string, edit: Edit): string {
  const node = guardedBy(text, edit.guard);
  const source = node.getSourceFile();
  const code = node.getText(source);
  if ('condition' in edit) {
    if (!ts.isIfStatement(node)) throw new Error(`guard ${edit.guard} is not on an if statement: ${code}`);
    return spliced(text, [node.expression.getStart(source), node.expression.end], qualified(edit.condition, text));
  }
  const becomes = 'swap' in edit ? swapped(code, edit) : qualified(edit.becomes, text).split(GUARDED).join(code);
  const isWithComma = becomes === '' && text[node.end] === ',';
  return spliced(text, [node.getStart(source), isWithComma ? node.end + 1 : node.end], becomes);
}

function swapped(code: string, { guard, swap: [find, replace] }: Edit & { swap: readonly [string, string] }): string {
  const parts = code.split(find);
  if (parts.length !== 2)
    throw new Error(`guard ${guard} holds ${parts.length - 1} places, not one, that read: ${find}`);
  return parts.join(replace);
}

/**
 * The code of an edit with its imported names as the file writes them. The build is CommonJS, in which an import and an
 * exported constant are properties of an object.
 */
function qualified(code: string, text: string): string {
  const found = text.matchAll(/\b(?:\w+_\d+|exports)\.(\w+)\b/g);
  const imported = new Map([...found].map(([property, name]) => [name!, property]));
  const places = bareNames(code).filter(({ name }) => imported.has(name));
  return places.reduceRight(
    (changed, { name, at }) => spliced(changed, [at, at + name.length], imported.get(name)!),
    code,
  );
}

/** The names that a piece of code reads from its surroundings, in order. */
export function bareNames(code: string): ReadonlyArray<{ readonly name: string; readonly at: number }> {
  const source = ts.createSourceFile('edit.js', code, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const found: Array<{ name: string; at: number }> = [];
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && !isProperty(node)) found.push({ name: node.text, at: node.getStart(source) });
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isProperty(node: ts.Identifier): boolean {
  const { parent } = node;
  // A fragment `state: 'SENT'` is the property of an object, and parsed alone it is a statement with a label.
  if (ts.isLabeledStatement(parent)) return parent.label === node;
  const isMember =
    ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent);
  return isMember && parent.name === node;
}

const spliced = (text: string, [from, to]: readonly [number, number], by: string) =>
  text.slice(0, from) + by + text.slice(to);

/** The outermost node whose leading comments hold the marker. */
function guardedBy(text: string, guard: string): ts.Node {
  const markers = [...text.matchAll(MARKER)].filter(([, name]) => name === guard);
  if (markers.length !== 1) throw new Error(`guard ${guard} is marked ${markers.length} times in this file, not once`);
  const at = markers[0]!.index;
  const source = ts.createSourceFile('built.js', text, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const find = (node: ts.Node): ts.Node | undefined => {
    if (at < node.pos || at >= node.end) return undefined;
    if (at < node.getStart(source) && (ts.isStatement(node) || ts.isObjectLiteralElement(node))) return node;
    return ts.forEachChild(node, find);
  };
  const node = find(source);
  if (!node) throw new Error(`guard ${guard} stands before no statement and no property`);
  return node;
}
