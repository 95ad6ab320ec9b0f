import { randomUUID } from 'node:crypto';
import { BINLOG_SQL, binlogFlaw } from '../core/database/binlog-format-check.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import { OptionsError } from '../core/errors/errors.js';
import { vendorOf } from './commit-flush-check.js';
import { isOlder, OLDEST, refusalOfXa } from './supported-servers.js';
import { type Xid, xidSql } from './xid.js';

export type Query = (sql: string, values?: readonly SqlValue[]) => Promise<Array<Record<string, unknown>>>;

/** The differences between MySQL and MariaDB. See docs/schemes/xa.md. */
export interface Dialect {
  readonly vendor: 'MySQL' | 'MariaDB';
  readonly version: string;
  /** Lock clause of a SELECT that fails at once if another open transaction has written the row. */
  readonly sharedNowait: string;
  /**
   * Lists every prepared branch of the server, of all clients.
   * @throws OptionsError if the account lacks the privilege
   */
  recover(query: Query): Promise<Xid[]>;
}

/** XAER_RMERR: MySQL's answer to an account without XA_RECOVER_ADMIN. */
const REFUSED = 1401;

/**
 * Reads vendor, version and settings of a server, and tries to list its branches and to begin one.
 * @throws OptionsError for a server that cannot be used or an account without the privilege, with the remedy
 */
export async function dialectOf(query: Query): Promise<Dialect> {
  const [row] = await query('SELECT VERSION() AS version, CURRENT_USER() AS account');
  const version = String(row!.version);
  const vendor = vendorOf(version);
  if (isOlder(version, OLDEST[vendor]))
    throw new OptionsError(
      `XA needs ${vendor} ${OLDEST[vendor].join('.')} or newer, and this server is ${version}; upgrade it`,
    );
  const isMySql = vendor === 'MySQL';
  const list = isMySql ? recoverMySql : recoverMariaDb;
  const dialect: Dialect = {
    vendor,
    version,
    sharedNowait: isMySql ? 'FOR SHARE NOWAIT' : 'LOCK IN SHARE MODE NOWAIT',
    recover: (ask) => list(ask).catch((error) => explainRefusal(error, row!.account)),
  };
  await dialect.recover(query);
  const flaw = binlogFlaw(await query(BINLOG_SQL));
  if (flaw) throw new OptionsError(flaw);
  await beginOne(query);
  return dialect;
}

/**
 * Begins a branch without work and rolls it back, in one packet. A server may list branches and yet refuse to begin
 * one, as a node of a Galera cluster does. After a refusal the server reads no further statement of the packet.
 */
async function beginOne(query: Query): Promise<void> {
  const xid = xidSql(`probe.${randomUUID()}`, 'probe');
  await query(`XA START ${xid}; XA END ${xid}; XA ROLLBACK ${xid}`).catch((error) => {
    throw refusalOfXa(error);
  });
}

/**
 * Also covers an account that lost the privilege later.
 * @throws OptionsError for an account without the privilege, otherwise the error itself
 */
function explainRefusal(error: unknown, account: unknown): never {
  if ((error as { errno?: number }).errno !== REFUSED) throw error;
  const [user, host] = String(account).split(/@(?=[^@]*$)/);
  throw new OptionsError(
    `this account may not list prepared branches; run GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'${host}'`,
  );
}

/**
 * MySQL returns text, which garbles bytes unless CONVERT XID asks for hex. MariaDB has no CONVERT XID and returns
 * bytes.
 */
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
