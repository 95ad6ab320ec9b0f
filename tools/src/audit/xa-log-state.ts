// The XA decision log of a sandbox: its id, its faults, and whether it is where it belongs and has all its rows.

import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';

/** The id of the sandbox's own decision log, or null when it has none. */
export async function logIdOf(databases: Databases): Promise<string | null> {
  if (!databases.has('order', tableNames.xaLog)) return null;
  const rows = await databases.query<{ log_id: string }>('order', `SELECT log_id FROM ${tableNames.xaLog}`);
  return rows[0]?.log_id ?? null;
}

/** If this row is missing, the log has lost rows. */
const SENTINEL = 'log~sentinel';

/** Whether a row of the log is about the log itself: its sentinel, or a fault of it. */
export const isOfLog = (id: string): boolean => id.startsWith('log');

interface LogRow {
  id: string;
  state: string;
  last_error: string | null;
  found: bigint | number;
}

export interface LogState {
  /** It has all its rows. A log of a version without this knowledge counts as whole and at home. */
  readonly isWhole: boolean;
  /** It is read from the database to which it is bound. */
  readonly isHome: boolean;
  readonly home: string | null;
  readonly here: string | null;
  readonly faults: readonly LogRow[];
  /** For transactions that began earlier the absence of a decision proves nothing. */
  readonly doubtedUntilMs: number;
  /** Transactions that began earlier have been examined by an operator. */
  readonly trustedFromMs: number;
}

interface Log {
  home: string | null;
  here: string | null;
  whole_since: Date | null;
  trusted: bigint | number | null;
}

/** Whether the decision log is where it belongs and has all its rows. */
export async function logStateOf(databases: Databases): Promise<LogState> {
  const unknown: LogState = {
    isWhole: true,
    isHome: true,
    home: null,
    here: null,
    faults: [],
    doubtedUntilMs: 0,
    trustedFromMs: 0,
  };
  if (!databases.has('order', tableNames.xaLog) || !databases.columnsOf('order', tableNames.xaLog).has('home'))
    return unknown;
  const [version] = await databases.query<{ server: string }>('order', 'SELECT VERSION() AS server');
  const place = /mariadb/i.test(version!.server) ? '@@hostname, @@server_id, @@datadir' : '@@server_uuid';
  const [log] = await databases.query<Log>(
    'order',
    `SELECT home, CONCAT_WS('/', ${place}, DATABASE()) AS here, whole_since, ${msOf('trusted_from')} AS trusted FROM ${tableNames.xaLog}`,
  );
  const rows = await databases.query<LogRow>(
    'order',
    `SELECT id, state, last_error, ${msOf('created_at')} AS found FROM ${tableNames.xa} WHERE id LIKE 'log%'`,
  );
  const { home = null, here = null, whole_since: since = null, trusted = null } = log ?? {};
  const faults = rows.filter(({ id, state }) => id !== SENTINEL && state === 'PARKED');
  const doubts = faults.filter(({ id }) => ['log.truncated', 'log.tail'].includes(id));
  const isWhole = since === null || rows.some(({ id }) => id === SENTINEL);
  return {
    isWhole,
    isHome: home === null || home === here,
    home,
    here,
    faults,
    doubtedUntilMs: isWhole ? Math.max(0, ...doubts.map(({ found }) => Number(found))) : Number.POSITIVE_INFINITY,
    trustedFromMs: Number(trusted ?? 0),
  };
}

const msOf = (column: string) => `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${column}) DIV 1000`;
