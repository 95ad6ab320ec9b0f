import { bind } from './sql-literals.js';

/**
 * The session settings under which the protocols are correct. Another isolation level locks gaps, a loose sql_mode stores
 * truncated values, and another zone shifts times. They are set in the sessions of the library, and by `pinSessions` in
 * those of the user. docs/sessions.md lists every setting and its reason.
 */
export interface Session {
  readonly lockWaitSeconds: number;
  /** The silence in seconds after which the server ends a connection and its transaction. */
  readonly silenceSeconds?: number;
  /** User settings that a statement of the user needs here too. */
  readonly asTheUsers?: UserSession;
}

/** The user settings by name, as the server shows them. */
export type UserSession = ReadonlyMap<string, string>;

/** Strict mode makes an invalid value an error. No setting changes the syntax of strings. */
const SQL_MODE = 'STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION';

/**
 * Settings that change the meaning or result of a user statement, and no protocol. Transactions that the library starts
 * copy them from the user sessions.
 */
export const AS_THE_USERS = [
  'time_zone', 'sql_mode', 'collation_connection', 'foreign_key_checks', 'check_constraint_checks',
  'div_precision_increment', 'group_concat_max_len', 'lc_time_names', 'default_week_format', 'max_sort_length',
  'low_priority_updates', 'old_mode', 'system_versioning_asof', 'system_versioning_alter_history', 'sql_quote_show_create',
  'auto_increment_increment', 'auto_increment_offset', 'max_statement_time', 'max_execution_time',
]; // biome-ignore format: a list of words

/** The statements that pin a session. */
export function pinningSql({ lockWaitSeconds, silenceSeconds, asTheUsers = new Map() }: Session): string[] {
  const wait = Number(lockWaitSeconds);
  const collation = asTheUsers.get('collation_connection') ?? '';
  return [
    `SET NAMES utf8mb4${/^utf8mb4_\w+$/.test(collation) ? ` COLLATE ${collation}` : ''}`,
    `SET SESSION time_zone = '+00:00', SESSION sql_mode = '${SQL_MODE}', SESSION autocommit = 1,
       SESSION completion_type = 'NO_CHAIN', SESSION innodb_lock_wait_timeout = ${wait}, SESSION lock_wait_timeout = ${wait},
       SESSION unique_checks = 1, SESSION sql_safe_updates = 0, SESSION sql_big_selects = 1, SESSION sql_auto_is_null = 0,
       SESSION sql_select_limit = DEFAULT, timestamp = DEFAULT`,
    // READ COMMITTED, so that a claim does not lock the gaps between rows.
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE',
    ...(silenceSeconds ? [`SET SESSION wait_timeout = ${Number(silenceSeconds)}`] : []),
    ...[...asTheUsers].filter(([name]) => name !== 'collation_connection').map(asTheUser),
  ];
}

function asTheUser([name, value]: readonly [string, string]): string {
  const literal = /^-?\d+(\.\d+)?$/.test(value) ? value : bind('?', [name === 'sql_mode' ? safeMode(value) : value]);
  return `SET SESSION ${name} = ${literal}`;
}

/**
 * The sql_mode of the user with two changes: strict mode is on, and NO_BACKSLASH_ESCAPES is off because mysql2 escapes
 * with backslashes.
 */
function safeMode(mode: string): string {
  const kept = mode.split(',').filter((word) => word !== '' && word !== 'NO_BACKSLASH_ESCAPES');
  return [...new Set([...kept, 'STRICT_TRANS_TABLES'])].join(',');
}
