import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { backoffSql } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { msOf } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, insertOf, NOW, SqlExpression, type Values } from '../core/database/insert-first.js';
import type { SqlValue } from '../core/database/literal.js';
import type { Sql } from '../core/database/sql.js';
import { inFuture } from '../core/durable/claim.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { measure } from '../core/telemetry.js';
import { failpoints, SCHEME } from './failpoints.js';
import { type HalfMessage, halfMessageMigrations } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { VerdictsLost, WholeVerdicts } from './whole.js';

/** What was ruled on a half message, and how far a committed one has come. */
export type Verdict = 'COMMITTED' | 'SENT' | 'DONE' | 'PARKED' | 'ROLLED_BACK';

const READ_DELAY_MS = 3;
const READ_BATCH_MAX = 500;

/**
 * The rows that say whether a half message is to be sent. At most one verdict per message: whoever inserts the row
 * first has ruled, the local transaction (COMMITTED, with its business) or anybody else (ROLLED_BACK).
 */
@Injectable()
export class Verdicts implements OnModuleInit, OnModuleDestroy {
  private readonly reads: Batcher<{ id: string; found?: Verdict }>;
  private readonly sent: Batcher<Pick<HalfMessage, 'id' | 'consumers'>>;
  private readonly rolledBack: Batcher<HalfMessage>;

  constructor(
    private readonly database: Database,
    private readonly whole: WholeVerdicts,
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
   * The statement that writes COMMITTED in the local transaction. A duplicate key: the check has ruled meanwhile, so that
   * transaction must not commit.
   */
  committed(message: HalfMessage): { statement: string; values: SqlValue[] } {
    const due = new SqlExpression(inFuture(this.options.sweepAfterMs));
    const awaiting = `,${message.consumers},`;
    return insertOf('dtx_half', { ...message, awaiting, state: 'COMMITTED', next_attempt_at: due, created_at: NOW });
  }

  /**
   * Takes COMMITTED back, which a statement of the user's has committed before its time.
   * @throws OutcomeUnknown when the message was sent meanwhile
   */
  async withdraw(id: string): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_half SET state = 'ROLLED_BACK', next_attempt_at = NULL WHERE id = ? AND state = 'COMMITTED'`,
      [id],
    );
    const verdict = await this.read(id);
    if (verdict !== 'ROLLED_BACK') throw new OutcomeUnknown(`half message ${id} is ${verdict ?? 'not known'}`);
  }

  /** What is committed, many asked in one statement. Undefined says nothing: a local transaction may be open. */
  async read(id: string): Promise<Verdict | undefined> {
    const asked: { id: string; found?: Verdict } = { id };
    await this.reads.add(asked);
    return asked.found;
  }

  /**
   * Rules ROLLED_BACK unless somebody has ruled before, and answers who won. A claim, not a read: from its commit on no
   * local transaction of this message can commit. UNKNOWN while one is open, or when verdicts are missing, and then
   * nothing is written.
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
   * The same in a transaction of the caller's.
   * @throws a lock wait (1205, 3572) while the local transaction is open; VerdictsLost when verdicts are missing
   */
  async claimIn(sql: Sql, message: HalfMessage): Promise<Verdict> {
    // An open transaction is told at once; the insert alone would hold one of the library's few connections for the
    // whole lock wait, and there may be many such copies.
    const known = await stateOf(sql, message.id, 'FOR UPDATE NOWAIT');
    if (known) return known;
    await this.whole.require(sql);
    if (await insertFirst(sql, 'dtx_half', rolledBackRow(message))) {
      this.measureSettled([message.id]);
      return 'ROLLED_BACK';
    }
    const winner = await stateOf(sql, message.id, 'FOR UPDATE');
    if (!winner) throw new OutcomeUnknown(`the verdict on half message ${message.id} was there and is gone`);
    return winner;
  }

  /**
   * When the verdict on a committed message was written, in milliseconds since the epoch by the database's clock; now for
   * one whose row was purged meanwhile.
   */
  async madeAtMs(id: string): Promise<number> {
    const made = msOf(`COALESCE((SELECT created_at FROM dtx_half WHERE id = ?), UTC_TIMESTAMP(3))`);
    const [row] = await this.database.own.query(`SELECT ${made} AS ms`, [id]);
    return Number(row.ms);
  }

  /** Gathers the mark SENT. A lost one means a duplicate, which the consumers' inboxes know. */
  markSent({ id, consumers }: Pick<HalfMessage, 'id' | 'consumers'>): Promise<void> {
    return this.sent.add({ id, consumers });
  }

  /** All receipts of a message came first: its mark would say less than is known. */
  skipMarks(receipted: ReadonlyMap<string, string>): void {
    this.sent.drop(({ id, consumers }) => consumers === receipted.get(id));
  }

  /** Gathers ROLLED_BACK for transactions that are over. A lost one is ruled by the check. */
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

  /** Only forward, and due again unless receipts come. An alert about it stays open until they do. */
  private async writeSent(ids: string[]): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_half SET next_attempt_at = ${backoffSql(this.options.sweepBackoff, '(attempts + 1)')},
         attempts = attempts + 1, claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3)),
         awaiting = COALESCE(awaiting, CONCAT(',', consumers, ',')), state = 'SENT'
         WHERE id IN (?) AND state IN ('COMMITTED', 'SENT', 'PARKED')`,
      [[...ids].sort()],
    );
  }

  /** Whatever verdict is there already stays. */
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
    this.measureSettled(messages.map(({ id }) => id));
  }

  private measureSettled(ids: readonly string[]): void {
    for (const id of ids) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id) });
  }
}

/** Without the payload, which nobody will need. */
function rolledBackRow({ payload: _, ...message }: HalfMessage): Values {
  return { ...message, state: 'ROLLED_BACK', created_at: NOW };
}

async function stateOf(sql: Sql, id: string, lock: string): Promise<Verdict | undefined> {
  const rows: Array<{ state: Verdict }> = await sql.query(`SELECT state FROM dtx_half WHERE id = ? ${lock}`, [id]);
  return rows[0]?.state;
}
