// The decision log (`dtx_xa`, `dtx_xa_log`): its owner, the place where it is read, and the trust in it. The open
// log is remembered in memory only. A restarted process compares its place again before the first decision.
import { Inject, Injectable } from '@nestjs/common';
import { msOf, NOW_MS } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { OptionsError } from '../core/errors/errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { FLUSH_COLUMNS, flushFlaw } from './commit-flush-check.js';
import { DOUBTS, LogIncidents, MOVED } from './decision-log-incidents.js';
import { SCHEME } from './failpoints.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { newLogId, SENTINEL, XA } from './xa-tables.js';
import { XaUnavailable } from './xa-unavailable.js';

/** The place where a log is read and the place where it belongs, from one statement. */
export interface LogPlace {
  /** Current time in milliseconds since the epoch, by the clock of the log's database. */
  readonly ms: number | string;
  readonly log_id: string;
  /** The server and database that the log is bound to. Null until an instance of this version has opened it. */
  readonly home: string | null;
  /** The value of `xa.deployment` that the log is bound to, if any. */
  readonly deployment: string | null;
  /** The server and database that this row was read from. */
  readonly here: string;
}

/** The trust in the log's rows. Times in milliseconds since the epoch, by the clock of the log's database. */
export interface LogState {
  readonly nowMs: number;
  /** The sentinel row exists. */
  readonly isWhole: boolean;
  /** A missing decision proves nothing about transactions that began before this time. 0 if the log is trusted. */
  readonly doubtedUntilMs: number;
  /**
   * An operator has checked transactions that began before this time, so their missing decisions are not reported
   * again.
   */
  readonly trustedFromMs: number;
}

/**
 * The decision log, bound to its server and database or to the name of its deployment. Read from another place, it is a
 * copy (a restored backup, a clone) or has moved (a failover), which look the same. Until an operator or
 * `xa.deployment` tells them apart, this process decides, resolves and purges nothing.
 */
@Injectable()
export class DecisionLog {
  /** Random, made by the log's first migration, and part of every xid. Empty while the log must not be used. */
  id = '';
  /** The reason why no transaction can begin, or an empty text. */
  problem = 'the decision log is not open yet';
  /** Time of the opening, by `performance.now()`. Comparisons made before it do not count. */
  openedAt = 0;
  private readonly logger = libraryLogger('xa log');
  private here = '';
  private onLost: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly incidents: LogIncidents,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  /**
   * Registers the callback for a log that turns out to be another one than was opened. The log must then be opened
   * again.
   */
  whenLost(listener: () => void): void {
    this.onLost = listener;
  }

  /** The SELECT of a `LogPlace`, for sessions in the log's database. Only after `open`. */
  get placeSql(): string {
    return `SELECT ${NOW_MS} AS ms, log_id, home, deployment, ${this.here} AS here FROM dtx_xa_log`;
  }

  /**
   * Opens the log in the place where it belongs. Idempotent.
   * @throws OptionsError if the log is in another place, has lost its id, or its server does not flush commits. In the
   *   last case the second phase of decided transactions still runs.
   */
  async open(): Promise<void> {
    const [server] = await this.database.own.query('SELECT VERSION() AS version');
    this.here = hereSql(String(server.version));
    const place = await this.place();
    const moved = await this.bind(place);
    if (moved !== null) {
      const isStill = async (sql: Sql) => (await this.place(sql)).home !== place.here;
      throw this.refused(await this.incidents.raise('moved', moved, { isStill }));
    }
    if (this.id === '') this.openedAt = performance.now();
    this.id = place.log_id;
    await this.checkFlush();
    if (this.problem) throw new OptionsError(this.problem);
  }

  /** Checks again whether the server flushes commits, since that setting can change at run time. */
  async checkFlush(): Promise<void> {
    const [row] = await this.database.own.query(`SELECT ${FLUSH_COLUMNS}`);
    const flaw = this.options.acceptUnflushed ? null : flushFlaw(row);
    this.problem = flaw === null ? '' : `${this.core.app}, which holds the decision log, ${flaw}`;
  }

  /** @throws XaUnavailable if `place` is not the log that was opened. No decision may then be based on it. */
  confirm({ log_id: id, home, here }: LogPlace): void {
    if (this.id !== '' && id === this.id && home === here) return;
    this.id = '';
    this.problem = `the decision log is now read from ${here}, opening it again`;
    this.onLost();
    throw new XaUnavailable(this.problem);
  }

  /**
   * Reads the present trust in the log. Reports a missing sentinel, once.
   * @throws XaUnavailable if this is not the log that was opened
   */
  async read(): Promise<LogState> {
    const doubts = DOUBTS.map((id) => `'${id}'`).join(', ');
    const doubted = `SELECT MAX(${msOf('created_at')}) FROM dtx_xa WHERE id IN (${doubts}) AND state = 'PARKED'`;
    const [row]: Array<LogPlace & Record<string, unknown>> = await this.database.own.query(
      `SELECT ${NOW_MS} AS ms, log_id, home, deployment, ${this.here} AS here, ${msOf('trusted_from')} AS trusted_ms,
         (SELECT COUNT(*) FROM dtx_xa WHERE id = '${SENTINEL}') AS sentinels, (${doubted}) AS doubted_ms
       FROM dtx_xa_log`,
    );
    this.confirm(row ?? NOWHERE);
    // guard: xa.sentinel
    const isWhole = Number(row.sentinels) === 1;
    const nowMs = Number(row.ms);
    if (!isWhole)
      await this.incidents.raise('truncated', `${this.database.names.inDatabase('dtx_xa')} lacks its sentinel row`, {
        isStill: isEmptied,
      });
    const doubtedUntilMs = isWhole ? Number(row.doubted_ms ?? 0) : nowMs;
    return { nowMs, isWhole, doubtedUntilMs, trustedFromMs: Number(row.trusted_ms ?? 0) };
  }

  /**
   * Applies the operator's resolution of a log fault, in the transaction that closes it. Resolves to false for an
   * outcome that the fault does not have.
   */
  async settle(sql: Sql, id: string, outcome: 'done' | 'reject'): Promise<boolean> {
    if (id !== MOVED && outcome === 'reject') return false;
    if (DOUBTS.includes(id)) await sql.query('UPDATE dtx_xa_log SET trusted_from = UTC_TIMESTAMP(3)');
    if (id !== MOVED) return true;
    const [server] = await sql.query('SELECT VERSION() AS version');
    const here = hereSql(String(server.version));
    const { deployment = null } = this.options;
    if (outcome === 'done')
      await sql.query(`UPDATE dtx_xa_log SET home = ${here}, deployment = COALESCE(?, deployment)`, [deployment]);
    else await this.becomeAnother(sql, here, deployment);
    return true;
  }

  /**
   * Gives a copied log a new id and closes its open rows. Their branches carry the id of the original, which resolves
   * them.
   */
  private async becomeAnother(sql: Sql, here: string, deployment: string | null): Promise<void> {
    await sql.query(`UPDATE dtx_xa_log SET log_id = ${newLogId()}, home = ${here}, deployment = ?`, [deployment]);
    const left: Array<{ id: string }> = await sql.query(
      `SELECT id FROM dtx_xa WHERE next_attempt_at IS NOT NULL AND id NOT LIKE 'log.%' FOR UPDATE`,
    );
    if (left.length === 0) return;
    const ids = left.map((row) => row.id);
    const text = 'belongs to the decision log that this log was copied from';
    await settleFinal(sql, XA, { ids, also: { sql: 'm.last_error = ?', values: [text] } });
    await this.alerts.close(sql, SCHEME, ids);
  }

  /** Whether an operator has checked transactions that began at this time. */
  async isTrusted(sql: Sql, beganMs: number): Promise<boolean> {
    const [row] = await sql.query(`SELECT ${msOf('trusted_from')} AS ms FROM dtx_xa_log`);
    return beganMs < Number(row?.ms ?? 0);
  }

  private async place(sql: Sql = this.database.own): Promise<LogPlace> {
    const [row]: LogPlace[] = await sql.query(this.placeSql);
    if (row) return row;
    const [log, decisions] = ['dtx_xa_log', 'dtx_xa'].map((table) => this.database.names.inDatabase(table));
    const found = `the decision log has lost its id: ${log} is empty`;
    throw this.refused(`${found}; insert it again as log_id, the first 16 characters of every gtrid in ${decisions}`);
  }

  /** Binds the log to this place if that is allowed. Resolves to null, or to the difference that forbids it. */
  private async bind({ home, here, deployment }: LogPlace): Promise<string | null> {
    const name = this.options.deployment ?? null;
    if (home === here && (name === null || name === deployment)) return null;
    // A deployment name is unique, so a log that is bound to this name was moved by its operator.
    const isNamed = name !== null && name === deployment;
    if (home !== null && home !== here && !isNamed) return `it was bound to ${home}, and is now read from ${here}`;
    await this.database.own.query('UPDATE dtx_xa_log SET home = ?, deployment = COALESCE(?, deployment)', [here, name]);
    if (home !== null && home !== here)
      this.logger.warn(`the decision log of deployment ${name} has moved from ${home} to ${here}`);
    return null;
  }

  private refused(problem: string): OptionsError {
    this.id = '';
    this.problem = problem;
    return new OptionsError(problem);
  }
}

/** The place of a log without a row in `dtx_xa_log`. */
export const NOWHERE: LogPlace = {
  ms: 0,
  log_id: '',
  home: null,
  deployment: null,
  here: 'a server whose decision log has lost its id',
};

async function isEmptied(sql: Sql): Promise<boolean> {
  const rows: unknown[] = await sql.query(`SELECT id FROM dtx_xa WHERE id = '${SENTINEL}'`);
  return rows.length === 0;
}

/**
 * SQL for the identity of server and database. MySQL keeps a UUID with its data. MariaDB has none, so host name, server
 * id and data directory stand in for it.
 */
function hereSql(version: string): string {
  return /mariadb/i.test(version)
    ? `CONCAT_WS('/', @@hostname, @@server_id, @@datadir, DATABASE())`
    : `CONCAT_WS('/', @@server_uuid, DATABASE())`;
}
