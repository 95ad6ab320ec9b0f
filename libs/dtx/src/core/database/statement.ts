/**
 * What a statement of the user may do to the transaction that it runs in.
 * - `plain`: cannot end it and begin another. Whether it has ended it, its answer tells.
 * - `session`: changes the session beyond the transaction (SET, a temporary table), and is plain otherwise.
 * - `use`: changes the default database.
 * - `autocommit`: SET autocommit, which commits when it was off.
 * - `savepoint`, `rollback-to`, `release`: on the savepoint `name`.
 * - `ends`: would end the transaction (the servers' manuals, "Statements That Cause an Implicit Commit").
 * - `opaque`: may hold anything, and leave an answer that does not show it: a procedure, a prepared statement, a compound
 *   statement, several statements in one.
 */
export type Statement =
  | { readonly kind: 'plain' | 'session' | 'use' | 'autocommit' }
  | { readonly kind: 'savepoint' | 'rollback-to' | 'release'; readonly name: string }
  | { readonly kind: 'ends' | 'opaque'; readonly what: string };

const PLAIN = new Set(
  (
    'SELECT INSERT UPDATE DELETE REPLACE WITH VALUES TABLE SHOW EXPLAIN DESCRIBE DESC DO HANDLER HELP CHECKSUM SIGNAL ' +
    'RESIGNAL GET DEALLOCATE KILL'
  ).split(' '),
);
const ENDING = new Set(
  (
    'COMMIT ROLLBACK BEGIN START XA ALTER CREATE DROP RENAME TRUNCATE GRANT REVOKE LOCK UNLOCK ANALYZE CACHE CHECK FLUSH ' +
    'OPTIMIZE REPAIR RESET STOP CHANGE INSTALL UNINSTALL IMPORT CLONE SHUTDOWN RESTART BACKUP PURGE BINLOG'
  ).split(' '),
);

/** What most statements are, told without reading all of them: no other statement and no code in a comment can be inside. */
const isSimple = (text: string) =>
  /^\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE)\s/i.test(text) && !text.includes(';') && !text.includes('/*');

/** Reads what a text asks for. Both servers' dialects, since a driver does not say which one it talks to. */
export function statementOf(text: string): Statement {
  if (isSimple(text)) return { kind: 'plain' };
  const parts = split(text);
  if (parts.length === 0) return { kind: 'plain' };
  if (parts.length === 1) return one(parts[0]!);
  const ending = parts.map(one).find(({ kind }) => kind === 'ends');
  return ending ?? { kind: 'opaque', what: 'several statements in one' };
}

/** How many statements a text holds. */
export function countStatements(text: string): number {
  return split(text).length;
}

function one(text: string): Statement {
  const words = text.replace(/^[\s(]+/, '');
  const [first = '', second = '', third = ''] = words.toUpperCase().split(/[\s(;]+/, 3);
  const what = [first, second].filter(Boolean).join(' ').slice(0, 40);
  if (PLAIN.has(first)) return { kind: 'plain' };
  switch (first) {
    case 'SAVEPOINT':
      return { kind: 'savepoint', name: nameAfter(words, /^SAVEPOINT\s+/i) };
    case 'RELEASE':
      return { kind: 'release', name: nameAfter(words, /^RELEASE\s+SAVEPOINT\s+/i) };
    case 'ROLLBACK':
      if (!/^ROLLBACK(\s+WORK)?\s+TO\s/i.test(words)) return { kind: 'ends', what };
      return { kind: 'rollback-to', name: nameAfter(words, /^ROLLBACK(\s+WORK)?\s+TO\s+(SAVEPOINT\s+)?/i) };
    case 'USE':
      return { kind: 'use' };
    case 'SET':
      return setting(words, second);
    case 'CREATE':
    case 'DROP':
      return isTemporary(second, third, words) ? { kind: 'session' } : { kind: 'ends', what };
    case 'BEGIN':
      return second === 'NOT' ? { kind: 'opaque', what: 'a compound statement' } : { kind: 'ends', what };
    case 'ANALYZE':
      // MariaDB runs the statement behind it and shows its plan; of a table it is an administrative statement.
      return /^(TABLE|TABLES|LOCAL|NO_WRITE_TO_BINLOG)$/.test(second) ? { kind: 'ends', what } : { kind: 'plain' };
    case 'LOAD':
      return second === 'INDEX' ? { kind: 'ends', what } : { kind: 'plain' };
    case 'PREPARE':
      return { kind: 'session' };
    case 'EXECUTE':
      return executed(words, what);
  }
  return ENDING.has(first) ? { kind: 'ends', what } : { kind: 'opaque', what };
}

/** SET of what commits, of a statement's own variables (MariaDB), or of the session. */
function setting(words: string, second: string): Statement {
  if (second === 'PASSWORD' || /^SET\s+DEFAULT\s+ROLE/i.test(words)) return { kind: 'ends', what: `SET ${second}` };
  const inner = /^SET\s+STATEMENT\s[^;]*?\sFOR\s+(.*)$/is.exec(words);
  if (inner) return one(inner[1]!);
  return { kind: /\bautocommit\b/i.test(words) ? 'autocommit' : 'session' };
}

/** Of temporary tables only CREATE and DROP commit nothing; DROP says so only with the word itself. */
function isTemporary(second: string, third: string, words: string): boolean {
  if (second === 'OR') return /^CREATE\s+OR\s+REPLACE\s+TEMPORARY\s+TABLE/i.test(words);
  return second === 'TEMPORARY' && /^TABLES?$/.test(third);
}

/** MariaDB's EXECUTE IMMEDIATE of a literal can be read; any other prepared statement was prepared before. */
function executed(words: string, what: string): Statement {
  const literal = /^EXECUTE\s+IMMEDIATE\s+(['"])(.*)\1\s*$/is.exec(words);
  return literal
    ? statementOf(literal[2]!.replaceAll(literal[1]! + literal[1]!, literal[1]!))
    : { kind: 'opaque', what };
}

function nameAfter(words: string, head: RegExp): string {
  return words
    .replace(head, '')
    .trim()
    .replace(/^`(.*)`$/s, '$1')
    .toLowerCase();
}

const TOKEN =
  /'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?|`(?:[^`]|``)*`?|--(?=\s|$)[^\n]*|#[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|;|[^'"`#;/-]+|[-/]/g;

/** The statements of a text, without comments. */
function split(text: string): string[] {
  const statements = [''];
  for (const [token] of uncommented(text).matchAll(TOKEN)) {
    if (token === ';') statements.push('');
    else statements[statements.length - 1] += token;
  }
  return statements.map((statement) => statement.trim()).filter(Boolean);
}

/**
 * A comment that a server reads as code is code here as well, for either server and every version. Quotes are read as in
 * a session without NO_BACKSLASH_ESCAPES, which the library's sessions are.
 */
function uncommented(text: string): string {
  let hasCode = false;
  const plain = text.replace(TOKEN, (token) => {
    if (!/^(--(\s|$)|#|\/\*)/.test(token)) return token;
    const code = /^\/\*M?!(?:\d{5,6})?([\s\S]*?)(?:\*\/)?$/.exec(token);
    hasCode ||= code !== null;
    return code ? ` ${code[1]} ` : ' ';
  });
  return hasCode ? uncommented(plain) : plain;
}
