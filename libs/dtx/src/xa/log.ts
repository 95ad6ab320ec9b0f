// The decision log itself: whose it is, where it is read, and whether it can be believed.
import { Inject, Injectable, Logger } from '@nestjs/common';
import { msOf, NOW_MS } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts } from '../core/durable/alerts.js';
import { settleFinal } from '../core/durable/settle.js';
import { OptionsError } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { FLUSH_COLUMNS, flushFlaw } from './dialect.js';
import { XaUnavailable } from './errors.js';
import { SCHEME } from './failpoints.js';
import { DOUBTS, LogIncidents, MOVED } from './incidents.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { newLogId, SENTINEL, XA } from './xa-tables.js';

/** Where a log is read, and where it belongs: one row of one statement. */
export interface LogPlace {
  /** Now, in milliseconds since the epoch, by the clock of the log's database. */
  readonly ms: number | string;
  readonly log_id: string;
  /** The server and database that the log is bound to; null for one that no instance of this version has opened yet. */
  readonly home: string | null;
  /** The name of the deployment that it is bound to, if it was given one. */
  readonly deployment: string | null;
  /** The server and database that this was read from. */
  readonly here: string;
}

/** The same with what is known of its rows. Times in milliseconds since the epoch, by the clock of the log's database. */
export interface LogState {
  readonly nowMs: number;
  /** Its sentinel is there. */
  readonly isWhole: boolean;
  /** The absence of a decision says nothing of transactions that began before; 0 when all can be believed. */
  readonly doubtedUntilMs: number;
  /** A person has looked at transactions that began before: what is missing of them is no news. */
  readonly trustedFromMs: number;
}

/**
 * A log is bound to the server and database that it is on, or to the name that its deployment was given. Read from
 * anywhere else it is a copy (a restored backup, a clone) or has moved (a failover), which look the same: nothing is
 * decided, carried out or purged by it until that is known.
 */
@Injectable()
export class DecisionLog {
  /** Random, made by the log's first migration, and part of every xid. Empty while the log must not be acted on. */
  id = '';
  /** Why no transaction can be begun, or empty. */
  problem = 'the decision log is not open yet';
  /** When it was opened, by `performance.now()`: what was compared before says nothing of it. */
  openedAt = 0;
  private readonly logger = new Logger('XaLog');
  private here = '';
  private onLost: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly incidents: LogIncidents,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  /** Calls back when the log turns out to be another one than was opened: it has to be opened again. */
  whenLost(listener: () => void): void {
    this.onLost = listener;
  }

  /** The statement that reads its place, for whoever is in its database anyway. Only once it is open. */
  get placeSql(): string {
    return `SELECT ${NOW_MS} AS ms, log_id, home, deployment, ${this.here} AS here FROM dtx_xa_log`;
  }

  /**
   * Opens it where it belongs. Bears being repeated.
   * @throws OptionsError when it is somewhere else, has lost its id, or its server does not flush what it commits; in the
   *   last case what was decided is carried out all the same
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

  /** Looks whether its server still flushes what it commits: that can be changed while it runs. */
  async checkFlush(): Promise<void> {
    const [row] = await this.database.own.query(`SELECT ${FLUSH_COLUMNS}`);
    const flaw = this.options.acceptUnflushed ? null : flushFlaw(row);
    this.problem = flaw === null ? '' : `${this.core.app}, which holds the decision log, ${flaw}`;
  }

  /** @throws XaUnavailable when what was read is not the log that was opened: nothing may be decided by it */
  confirm({ log_id: id, home, here }: LogPlace): void {
    if (this.id !== '' && id === this.id && home === here) return;
    this.id = '';
    this.problem = `the decision log is now read from ${here}: it is opened again`;
    this.onLost();
    throw new XaUnavailable(this.problem);
  }

  /**
   * What can be believed of it now. A log whose sentinel is gone is reported here, once.
   * @throws XaUnavailable when it is not the log that was opened
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
      await this.incidents.raise('truncated', 'its sentinel row is gone from dtx_xa', { isStill: isEmptied });
    const doubtedUntilMs = isWhole ? Number(row.doubted_ms ?? 0) : nowMs;
    return { nowMs, isWhole, doubtedUntilMs, trustedFromMs: Number(row.trusted_ms ?? 0) };
  }

  /**
   * A person's word about a fault of the log, in the transaction that closes it. False for one that the fault does not
   * have.
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

  /** What the copy has brought along is the original's to carry out: its branches bear the original's id. */
  private async becomeAnother(sql: Sql, here: string, deployment: string | null): Promise<void> {
    await sql.query(`UPDATE dtx_xa_log SET log_id = ${newLogId()}, home = ${here}, deployment = ?`, [deployment]);
    const left: Array<{ id: string }> = await sql.query(
      `SELECT id FROM dtx_xa WHERE next_attempt_at IS NOT NULL AND id NOT LIKE 'log.%' FOR UPDATE`,
    );
    if (left.length === 0) return;
    const ids = left.map((row) => row.id);
    const text = 'belongs to the decision log that this one was copied from';
    await settleFinal(sql, XA, { ids, also: { sql: 'm.last_error = ?', values: [text] } });
    await this.alerts.close(sql, SCHEME, ids);
  }

  /** Whether a person has looked at transactions that began then. */
  async isTrusted(sql: Sql, beganMs: number): Promise<boolean> {
    const [row] = await sql.query(`SELECT ${msOf('trusted_from')} AS ms FROM dtx_xa_log`);
    return beganMs < Number(row?.ms ?? 0);
  }

  private async place(sql: Sql = this.database.own): Promise<LogPlace> {
    const [row]: LogPlace[] = await sql.query(this.placeSql);
    if (row) return row;
    const found = 'the decision log has lost its id: dtx_xa_log is empty';
    throw this.refused(`${found}; insert it again: it is the first 16 characters of every gtrid in dtx_xa`);
  }

  /** Null when the log is where it belongs, else how it is not. */
  private async bind({ home, here, deployment }: LogPlace): Promise<string | null> {
    const name = this.options.deployment ?? null;
    if (home === here && (name === null || name === deployment)) return null;
    // The name is the deployment's own: whoever runs it has moved the log of that name to another server.
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

/** Where there is no row to be read. */
export const NOWHERE: LogPlace = { ms: 0, log_id: '', home: null, deployment: null, here: 'a server without its id' };

async function isEmptied(sql: Sql): Promise<boolean> {
  const rows: unknown[] = await sql.query(`SELECT id FROM dtx_xa WHERE id = '${SENTINEL}'`);
  return rows.length === 0;
}

/** MySQL keeps an id with its data; MariaDB has none, so it is its host, its number there and its folder. */
function hereSql(version: string): string {
  return /mariadb/i.test(version)
    ? `CONCAT_WS('/', @@hostname, @@server_id, @@datadir, DATABASE())`
    : `CONCAT_WS('/', @@server_uuid, DATABASE())`;
}
