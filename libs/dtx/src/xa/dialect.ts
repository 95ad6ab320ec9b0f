import type { SqlValue } from '../core/database/literal.js';
import { OptionsError } from '../core/errors/errors.js';
import type { Xid } from './xid.js';

export type Query = (sql: string, values?: readonly SqlValue[]) => Promise<Array<Record<string, unknown>>>;

/** What differs between the servers. */
export interface Dialect {
  readonly vendor: 'MySQL' | 'MariaDB';
  readonly version: string;
  /** Behind a SELECT: reads only what no other transaction has written and not ended, and says so at once otherwise. */
  readonly sharedNowait: string;
  /** Lists every prepared branch of the server, whoever has prepared it. @throws OptionsError where the account may not */
  recover(query: Query): Promise<Xid[]>;
}

/** Columns, for any SELECT, of what a server does before it answers a COMMIT. */
export const FLUSH_COLUMNS = `VERSION() AS server, @@GLOBAL.innodb_flush_log_at_trx_commit AS flush_log,
  @@GLOBAL.log_bin AS log_bin, @@GLOBAL.sync_binlog AS sync_binlog`;

/** Values of `innodb_flush_log_at_trx_commit` with which a COMMIT is on the disk before it is answered. */
const FLUSHES = { MySQL: [1], MariaDB: [1, 3] };

/** Null for a server that has on its disk what it has answered, else what is wrong with it and what to do about it. */
export function flushFlaw(row: Record<string, unknown>): string | null {
  const [flushLog, syncBinlog] = [Number(row.flush_log), Number(row.sync_binlog)];
  const wrong = FLUSHES[vendorOf(row.server)].includes(flushLog)
    ? Number(row.log_bin) === 1 && syncBinlog !== 1 && `sync_binlog = ${syncBinlog} with log_bin on`
    : `innodb_flush_log_at_trx_commit = ${flushLog}`;
  if (!wrong) return null;
  return `has ${wrong}, not 1: a crash may lose what it has committed; set it to 1, or set xa.acceptUnflushed`;
}

const vendorOf = (version: unknown) => (/mariadb/i.test(String(version)) ? 'MariaDB' : 'MySQL');

const OLDEST = { MySQL: [8, 0, 29], MariaDB: [10, 6, 0] } as const;
/** XAER_RMERR: on MySQL what an account without the privilege is answered. */
const REFUSED = 1401;

/** Asks a server what it is. @throws OptionsError for one that cannot take part, with what to do about it */
export async function dialectOf(query: Query): Promise<Dialect> {
  const [row] = await query('SELECT VERSION() AS version, CURRENT_USER() AS account');
  const version = String(row!.version);
  const vendor = vendorOf(version);
  if (isOlder(version, OLDEST[vendor]))
    throw new OptionsError(`XA needs ${vendor} ${OLDEST[vendor].join('.')} or newer; this server is ${version}`);
  const isMySql = vendor === 'MySQL';
  const list = isMySql ? recoverMySql : recoverMariaDb;
  const dialect: Dialect = {
    vendor,
    version,
    sharedNowait: isMySql ? 'FOR SHARE NOWAIT' : 'LOCK IN SHARE MODE NOWAIT',
    recover: (ask) => list(ask).catch((error) => explainRefusal(error, row!.account)),
  };
  await dialect.recover(query);
  return dialect;
}

/** @throws OptionsError for an account that may not list branches, also where it was allowed to before; else the error */
function explainRefusal(error: unknown, account: unknown): never {
  if ((error as { errno?: number }).errno !== REFUSED) throw error;
  const [user, host] = String(account).split(/@(?=[^@]*$)/);
  throw new OptionsError(
    `this account may not list prepared branches: GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'${host}'`,
  );
}

/** MySQL answers with text, which would garble bytes, unless asked for hex; MariaDB has no CONVERT XID and answers with bytes. */
const recoverMySql = (query: Query) =>
  branchesOf(query, 'XA RECOVER CONVERT XID', (data) => Buffer.from(String(data).slice(2), 'hex'));
const recoverMariaDb = (query: Query) => branchesOf(query, 'XA RECOVER', (data) => Buffer.from(data as Buffer));

async function branchesOf(query: Query, sql: string, bytesOf: (data: unknown) => Buffer): Promise<Xid[]> {
  const rows = await query(sql);
  return rows.map(({ data, formatID, gtrid_length: length }) => {
    const bytes = bytesOf(data);
    return {
      formatId: Number(formatID),
      gtrid: bytes.toString('latin1', 0, Number(length)),
      branch: bytes.toString('latin1', Number(length)),
    };
  });
}

/** Compares by numbers. A version that cannot be read is older than any. */
export function isOlder(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const at = oldest.findIndex((number, index) => parts[index] !== number);
  return at >= 0 && !(parts[at]! > oldest[at]!);
}
