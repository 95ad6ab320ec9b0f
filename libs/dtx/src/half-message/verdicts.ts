// The verdicts of steps 2 to 4, in `dtx_half`. The row of COMMITTED commits with the business. If the process dies
// before that commit, neither exists, and the check rules ROLLED_BACK. Marks of SENT are collected in memory. A lost
// one makes the sweeper send again, which the inboxes drop.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { backoffSql } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { msOf, NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, insertOf, type SqlStatement, type Values } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { measure } from '../core/telemetry-events.js';
import { failpoints, SCHEME } from './failpoints.js';
import { type HalfMessage, halfMessageMigrations } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { VerdictLossCheck, VerdictsLost } from './verdict-loss-check.js';

/** State of a row in `dtx_half`: the verdict, and how far a committed message has come. */
export type Verdict = 'COMMITTED' | 'SENT' | 'DONE' | 'PARKED' | 'ROLLED_BACK';

const READ_DELAY_MS = 3;
const READ_BATCH_MAX = 500;

/**
 * Reads and writes verdicts. A message has at most one, and the first insert wins. The local transaction inserts COMMITTED
 * together with its business rows. Any other writer inserts ROLLED_BACK.
 */
@Injectable()
export class Verdicts implements OnModuleInit, OnModuleDestroy {
  private readonly reads: Batcher<{ id: string; found?: Verdict }>;
  private readonly sent: Batcher<Pick<HalfMessage, 'id' | 'consumers'>>;
  private readonly rolledBack: Batcher<HalfMessage>;

  constructor(
    private readonly database: Database,
    private readonly lossCheck: VerdictLossCheck,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    const marks = { delayMs: options.markDelayMs, batchMax: options.markBatchMax };
    this.reads = new Batcher({ delayMs: READ_DELAY_MS, batchMax: READ_BATCH_MAX }, (asked) => this.readAll(asked));
    this.sent = new Batcher(marks, (all) =>
      failpoint(failpoints.marked, () => this.writeSent(all.map(({ id }) => id))),
    );
    this.rolledBack = new Batcher(marks, (all) => failpoint(failpoints.rolledBack, () => this.writeRolledBack(all)));
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-half-message', halfMessageMigrations);
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all([this.sent.drain(), this.rolledBack.drain()]);
  }

  /**
   * The statement that inserts COMMITTED in the local transaction. A duplicate key means that the check has already ruled,
   * so the transaction must not commit.
   */
  committed(message: HalfMessage): SqlStatement {
    const due = new SqlExpression(inFuture(this.options.sweepAfterMs));
    const awaiting = `,${message.consumers},`;
    return insertOf('dtx_half', { ...message, awaiting, state: 'COMMITTED', next_attempt_at: due, created_at: NOW });
  }

  /**
   * Reverts a COMMITTED that a statement of the user has committed early.
   * @throws OutcomeUnknown if the message was sent meanwhile
   */
  async withdraw(id: string): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_half SET state = 'ROLLED_BACK', next_attempt_at = NULL WHERE id = ? AND state = 'COMMITTED'`,
      [id],
    );
    const verdict = await this.read(id);
    if (verdict !== 'ROLLED_BACK')
      throw new OutcomeUnknown(
        `cannot withdraw half message ${id}: verdict in ${this.database.names.inDatabase('dtx_half')} is ${verdict ?? 'missing'}`,
      );
  }

  /** Reads a committed verdict, many in one statement. Undefined proves nothing, since a local transaction may be open. */
  async read(id: string): Promise<Verdict | undefined> {
    const asked: { id: string; found?: Verdict } = { id };
    await this.reads.add(asked);
    return asked.found;
  }

  /**
   * Rules ROLLED_BACK unless a verdict exists, and returns the winning verdict. After ROLLED_BACK no local transaction of
   * this message can commit. Returns UNKNOWN, and writes nothing, while one is open or if `dtx_half` has lost rows.
   */
  async claim(message: HalfMessage): Promise<Verdict | 'UNKNOWN'> {
    try {
      return await this.database.own.transaction((sql) => this.claimIn(sql, message));
    } catch (error) {
      if (isLockWait(error) || error instanceof VerdictsLost) return 'UNKNOWN';
      throw error;
    }
  }

  /**
   * As `claim`, in the transaction of the caller.
   * @throws a lock wait (1205, 3572) while the local transaction is open
   * @throws VerdictsLost if `dtx_half` has lost rows
   */
  async claimIn(sql: Sql, message: HalfMessage): Promise<Verdict> {
    // NOWAIT detects an open transaction at once. The insert alone would hold one of the library's few connections for
    // the whole lock wait.
    const known = await stateOf(sql, message.id, 'FOR UPDATE NOWAIT');
    if (known) return known;
    await this.lossCheck.assertComplete(sql);
    if (await insertFirst(sql, 'dtx_half', rolledBackRow(message))) {
      this.countSettled([message.id]);
      return 'ROLLED_BACK';
    }
    const winner = await stateOf(sql, message.id, 'FOR UPDATE');
    if (!winner)
      throw new OutcomeUnknown(
        `cannot rule half message ${message.id}: its row in ${this.database.names.inDatabase('dtx_half')} was deleted meanwhile; retry`,
      );
    return winner;
  }

  /**
   * What a check still has to send: to the consumers without a receipt, and to those that a redrive has named. If the row
   * was purged meanwhile, to all consumers of the prepared message.
   * @returns time of the verdict, or now without a row, in milliseconds since the epoch by the database clock
   */
  async unsent(message: HalfMessage): Promise<{ message: HalfMessage; madeAtMs: number }> {
    const [row] = await this.database.own.query(
      `SELECT ${msOf('COALESCE(half.created_at, UTC_TIMESTAMP(3))')} AS ms, half.awaiting
       FROM (SELECT 1) AS one LEFT JOIN dtx_half half ON half.id = ?`,
      [message.id],
    );
    const awaiting: string | null = row.awaiting;
    const consumers = awaiting === null ? message.consumers : awaiting.split(',').filter(Boolean).join(',');
    return { message: { ...message, consumers }, madeAtMs: Number(row.ms) };
  }

  /** Collects a SENT mark. A lost mark causes a duplicate, which the inboxes of the consumers drop. */
  markSent({ id, consumers }: Pick<HalfMessage, 'id' | 'consumers'>): Promise<void> {
    return this.sent.add({ id, consumers });
  }

  /** Drops the SENT marks of messages whose receipts are all in. They are DONE already. */
  skipMarks(receipted: ReadonlyMap<string, string>): void {
    this.sent.drop(({ id, consumers }) => consumers === receipted.get(id));
  }

  /** Collects a ROLLED_BACK mark of an ended transaction. If the mark is lost, the check rules. */
  markRolledBack(message: HalfMessage): Promise<void> {
    return this.rolledBack.add(message);
  }

  /** The payload that was committed first under a gid, or null. */
  async payloadOf(gid: string, contract: { name: string; version: number }): Promise<string | null> {
    const rows: Array<{ payload: string }> = await this.database.work.query(
      `SELECT payload FROM dtx_half WHERE gid = ? AND contract = ? AND version = ? AND state <> 'ROLLED_BACK'
       ORDER BY id LIMIT 1`,
      [gid, contract.name, contract.version],
    );
    return rows[0]?.payload ?? null;
  }

  private async readAll(asked: Array<{ id: string; found?: Verdict }>): Promise<void> {
    const ids = asked.map(({ id }) => id);
    const rows = await this.database.own.query('SELECT id, state FROM dtx_half WHERE id IN (?)', [ids]);
    const states = new Map<string, Verdict>(rows.map((row) => [row.id, row.state]));
    for (const one of asked) {
      const found = states.get(one.id);
      if (found) one.found = found;
    }
  }

  /** Marks rows only forward and makes them due again. An open alert about a row stays open until its receipts are in. */
  private async writeSent(ids: string[]): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_half SET next_attempt_at = ${backoffSql(this.options.sweepBackoff, '(attempts + 1)')},
         attempts = attempts + 1, claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3)),
         awaiting = COALESCE(awaiting, CONCAT(',', consumers, ',')), state = 'SENT'
         WHERE id IN (?) AND state IN ('COMMITTED', 'SENT', 'PARKED')`,
      [[...ids].sort()],
    );
  }

  /** Inserts ROLLED_BACK. An existing verdict stays. */
  private async writeRolledBack(messages: HalfMessage[]): Promise<void> {
    const rows = messages.map(({ id, gid, contract, version, consumers, traceparent }) => {
      return [id, gid, contract, version, consumers, traceparent];
    });
    const places = rows.map(() => `(?, ?, ?, ?, ?, ?, 'ROLLED_BACK', UTC_TIMESTAMP(3))`).join(', ');
    await this.database.own.query(
      `INSERT INTO dtx_half (id, gid, contract, version, consumers, traceparent, state, created_at) VALUES ${places}
       ON DUPLICATE KEY UPDATE state = state`,
      rows.flat(),
    );
    this.countSettled(messages.map(({ id }) => id));
  }

  private countSettled(ids: readonly string[]): void {
    for (const id of ids) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id), id });
  }
}

/** The row has no payload, since it will never be sent. */
function rolledBackRow({ payload: _, ...message }: HalfMessage): Values {
  return { ...message, state: 'ROLLED_BACK', created_at: NOW };
}

async function stateOf(sql: Sql, id: string, lock: string): Promise<Verdict | undefined> {
  const rows: Array<{ state: Verdict }> = await sql.query(`SELECT state FROM dtx_half WHERE id = ? ${lock}`, [id]);
  return rows[0]?.state;
}
