/**
 * The effect of a user statement on its transaction. The guard rejects `ends` and probes around `opaque`, since the rows
 * after a hidden commit would commit alone.
 * - `plain`: cannot end it and begin another. Its answer tells whether it ended the transaction.
 * - `session`: changes the session beyond the transaction (SET, a temporary table), and is plain otherwise.
 * - `use`: changes the default database.
 * - `autocommit`: SET autocommit, which commits if it was off.
 * - `savepoint`, `rollback-to`, `release`: on the savepoint `name`.
 * - `ends`: would end the transaction (server manuals, "Statements That Cause an Implicit Commit").
 * - `opaque`: unknown content with an answer that does not show it: a procedure, a prepared statement, a compound
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

/** A fast check for most statements. A simple statement contains no other statement and no code in a comment. */
const isSimple = (text: string) =>
  /^\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE)\s/i.test(text) && !text.includes(';') && !text.includes('/*');

/** Classifies a statement text, in the dialects of both servers. A driver does not tell which server it uses. */
export function statementOf(text: string): Statement {
  if (isSimple(text)) return { kind: 'plain' };
  const parts = split(text);
  if (parts.length === 0) return { kind: 'plain' };
  if (parts.length === 1) return one(parts[0]!);
  const ending = parts.map(one).find(({ kind }) => kind === 'ends');
  return ending ?? { kind: 'opaque', what: 'several statements in one' };
}

/**
 * Whether a statement may stand in front of others in one packet. A comment at its end would hide them, COMMIT too, and a
 * `;` behind it is a syntax error. A value may bring either along (`toSqlString`). A backslash in the statement itself may
 * escape a quote or not, by the mode of the session.
 * @param bound the statement with its values
 */
export function mayStandInFront(statement: string, bound: string): boolean {
  // guard: transaction.in-front
  if (statement.includes('\\') || statementOf(statement).kind !== 'plain') return false;
  return !(/;|--|#|\/\*/.test(bound) && hasCommentOrEnd(bound));
}

function hasCommentOrEnd(text: string): boolean {
  return [...text.matchAll(TOKEN)].some(([token]) => token === ';' || isComment(token));
}

/** A `-` or `/` that begins no comment is a token of its own. */
const isComment = (token: string) => /^(--|#|\/\*)/.test(token);

/** False for an empty text and for a comment alone, which the server does not answer behind other statements. */
export function hasStatement(text: string): boolean {
  return /^\s*[a-z(]/i.test(text) || countStatements(text) > 0;
}

/** The number of statements in a text. */
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
      // MariaDB executes the statement behind ANALYZE and shows its plan. ANALYZE of a table is an administrative
      // statement.
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

/** Classifies SET: of a value that commits, of variables of one statement (MariaDB), or of the session. */
function setting(words: string, second: string): Statement {
  if (second === 'PASSWORD' || /^SET\s+DEFAULT\s+ROLE/i.test(words)) return { kind: 'ends', what: `SET ${second}` };
  const inner = /^SET\s+STATEMENT\s[^;]*?\sFOR\s+(.*)$/is.exec(words);
  if (inner) return one(inner[1]!);
  return { kind: /\bautocommit\b/i.test(words) ? 'autocommit' : 'session' };
}

/** CREATE and DROP of a temporary table do not commit. DROP needs the word TEMPORARY for that. */
function isTemporary(second: string, third: string, words: string): boolean {
  if (second === 'OR') return /^CREATE\s+OR\s+REPLACE\s+TEMPORARY\s+TABLE/i.test(words);
  return second === 'TEMPORARY' && /^TABLES?$/.test(third);
}

/**
 * Classifies EXECUTE. EXECUTE IMMEDIATE of a literal (MariaDB) is readable. Any other prepared statement is unknown.
 */
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

/** A comment begins with `--` before a control character or a space of ASCII, or at the end (MySQL manual, "Comments"). */
const TOKEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the servers take each of them
  /'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?|`(?:[^`]|``)*`?|--(?=[\x00-\x20\x7f]|$)[^\n]*|#[^\n]*|\/\*.*?(?:\*\/|$)|;|[^'"`#;/-]+|[-/]/gs;

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
 * Removes comments, and keeps executable comments of either server and any version as code. Quotes are read as without
 * NO_BACKSLASH_ESCAPES, which library sessions never have.
 */
function uncommented(text: string): string {
  let hasCode = false;
  const plain = text.replace(TOKEN, (token) => {
    if (!isComment(token)) return token;
    const code = /^\/\*M?!(?:\d{5,6})?([\s\S]*?)(?:\*\/)?$/.exec(token);
    hasCode ||= code !== null;
    return code ? ` ${code[1]} ` : ' ';
  });
  return hasCode ? uncommented(plain) : plain;
}
