import type { SqlValue } from '../core/database/literal.js';
import { OptionsError } from '../core/errors.js';
import type { Xid } from './xid.js';

export type Query = (sql: string, values?: readonly SqlValue[]) => Promise<Array<Record<string, unknown>>>;

/** What differs between the servers. */
export interface Dialect {
  readonly vendor: 'MySQL' | 'MariaDB';
  readonly version: string;
  /** Lists every prepared branch of the server, whoever has prepared it. */
  recover(query: Query): Promise<Xid[]>;
}

const OLDEST = { MySQL: [8, 0, 29], MariaDB: [10, 6, 0] } as const;
/** XAER_RMERR: on MySQL what an account without the privilege is answered. */
const REFUSED = 1401;

/** Asks a server what it is. @throws OptionsError for one that cannot take part, with what to do about it */
export async function dialectOf(query: Query): Promise<Dialect> {
  const [row] = await query('SELECT VERSION() AS version, CURRENT_USER() AS account');
  const version = String(row!.version);
  const vendor = /mariadb/i.test(version) ? 'MariaDB' : 'MySQL';
  if (isOlder(version, OLDEST[vendor]))
    throw new OptionsError(`XA needs ${vendor} ${OLDEST[vendor].join('.')} or newer; this server is ${version}`);
  const dialect: Dialect = { vendor, version, recover: vendor === 'MySQL' ? recoverMySql : recoverMariaDb };
  try {
    await dialect.recover(query);
  } catch (error) {
    if ((error as { errno?: number }).errno !== REFUSED) throw error;
    const [user, host] = String(row!.account).split(/@(?=[^@]*$)/);
    throw new OptionsError(
      `this account may not list prepared branches: GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'${host}'`,
    );
  }
  return dialect;
}

/** MySQL answers with text, which would garble bytes, unless asked for hex; MariaDB has no CONVERT XID and answers with bytes. */
const recoverMySql = (query: Query) =>
  list(query, 'XA RECOVER CONVERT XID', (data) => Buffer.from(String(data).slice(2), 'hex'));
const recoverMariaDb = (query: Query) => list(query, 'XA RECOVER', (data) => Buffer.from(data as Buffer));

async function list(query: Query, sql: string, bytesOf: (data: unknown) => Buffer): Promise<Xid[]> {
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

function isOlder(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const at = oldest.findIndex((number, index) => parts[index] !== number);
  return at >= 0 && !(parts[at]! > oldest[at]!);
}
