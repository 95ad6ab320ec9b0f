// The writes of a running saga to its row. Each is one statement or one transaction, fenced by the token of the claim. A
// process that has lost its claim changes nothing. If the process dies before a commit, the row is as before.
import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { SqlStatement } from '../core/database/insert-first.js';
import type { Changed } from '../core/database/mysql2-types.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import type { Sql } from '../core/database/sql-executor.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import type { Unit } from '../core/database/unit-of-work.js';
import { isoTime } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { finalMarkOf, NEVER_BY_ITSELF } from '../core/durable/settle-or-park.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { cut, REASON_STORED_MAX } from './call-messages.js';
import { failpoints } from './failpoints.js';
import type { KnownData } from './known-data.js';
import { leaseMsOf, SAGA_OPTIONS, type SagaOptions } from './options.js';
import { nameOf, type WaitEntry } from './saga-entries.js';
import { SAGA, type SagaRow } from './saga-tables.js';

/** `taken`: the signal is stored with the saga. `overdue`: the time limit has passed. `lost`: the claim belongs to another process. */
export type WaitResult = 'taken' | 'waiting' | 'overdue' | 'lost';

/** Reads and writes rows of this initiator. */
@Injectable()
export class SagaRows {
  private readonly sharing: SharingByName;

  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {
    this.sharing = new SharingByName(options.callsPerTransaction);
  }

  /** The end of a lease from now, as SQL. */
  get lease(): string {
    return inFuture(leaseMsOf(this.core, this.options));
  }

  /** Milliseconds until the deadline, by the clock of the database. Negative after it. */
  untilDeadlineMs(row: SagaRow): number {
    return Date.parse(isoTime(row.deadline)!) - this.database.nowMs();
  }

  /**
   * Step 3: from here on, cancel and deadline cannot turn the saga. One compare-and-set in competition with both.
   * Null after the deadline, or if another process or a cancel was first.
   */
  async markPivot(row: SagaRow, step: number, data: KnownData): Promise<SagaRow | null> {
    // The clock as last read is enough for people, and is what the process that ends the saga tells its readers.
    const decided_at = new Date(this.database.nowMs());
    // Under this claim only a mark whose answer was lost has made it a PIVOT.
    // guard: saga.pivot-mark
    const statement = `UPDATE dtx_saga SET state = 'PIVOT', direction = 'PIVOT', step = ?, results = ?, attempts = 0,
         decided_at = ?, reached_at = UTC_TIMESTAMP(3), next_attempt_at = ${this.lease}
       WHERE id = ? AND claim_token = ? AND state IN ('RUNNING', 'PIVOT') AND deadline > UTC_TIMESTAMP(3)`;
    const values = [step, data.stored, decided_at, row.id, row.claim_token];
    const { affectedRows } = await failpoint(failpoints.pivotMarked, () => this.sharedOrAlone(statement, values));
    if (affectedRows !== 1) return null;
    return { ...row, state: 'PIVOT', direction: 'PIVOT', step, attempts: 0, decided_at, reached_at: decided_at };
  }

  /** Changes rows by one statement, perhaps in one transaction with those of other sagas. */
  private sharedOrAlone(statement: string, values: readonly SqlValue[]): Promise<Changed> {
    const alone = () => this.database.own.query<Changed>(statement, values);
    const sharing = this.sharing.of('pivot');
    if (!sharing) return alone();
    const run: Unit<Changed>['run'] = async (_tx, _sql, answers) => answers.at(-1) as Changed;
    return this.database.work.run({ what: 'mark of a pivot', sharing, alone, first: { statement, values }, run });
  }

  /** The row as it is now. Null if the claim is lost. */
  async read({ id, claim_token }: SagaRow): Promise<SagaRow | null> {
    const [row]: SagaRow[] = await this.database.own.query(
      `SELECT id, state, attempts, claim_token, ${SAGA.columns.join(', ')} FROM dtx_saga WHERE id = ? AND claim_token = ?`,
      [id, claim_token],
    );
    return row ? { ...row, step: Number(row.step), attempts: Number(row.attempts) } : null;
  }

  /** Whether this process still has the claim. */
  async isOurs({ id, claim_token }: SagaRow): Promise<boolean> {
    const rows: unknown[] = await this.database.own.query('SELECT id FROM dtx_saga WHERE id = ? AND claim_token = ?', [
      id,
      claim_token,
    ]);
    return rows.length > 0;
  }

  /** Step 4: decides to compensate. Null if another process or a cancel was first. */
  async decide(row: SagaRow, reason: string, step: number): Promise<SagaRow | null> {
    const given = cut(reason, REASON_STORED_MAX);
    const decided_at = new Date(this.database.nowMs());
    const { affectedRows } = await failpoint(failpoints.decided, () =>
      this.database.own.query(
        `UPDATE dtx_saga SET state = 'COMPENSATING', direction = 'COMPENSATING', reason = ?, step = ?, attempts = 0,
           waiting_since = NULL, decided_at = ?, next_attempt_at = ${this.lease}
         WHERE id = ? AND claim_token = ? AND state IN ('RUNNING', 'PIVOT')`,
        [given, step, decided_at, row.id, row.claim_token],
      ),
    );
    if (affectedRows !== 1) return null;
    const end = { state: 'COMPENSATING', direction: 'COMPENSATING', reason: given, waiting_since: null } as const;
    return { ...row, ...end, step, attempts: 0, decided_at };
  }

  /**
   * Records how far a saga is, when it cannot go on now. Its attempts begin anew behind the recorded place. On the way
   * forward it also records the results, of the siblings in the same group too. The server assigns from left to right.
   * Returns false if the claim is lost.
   */
  async saveProgress({ id, claim_token }: SagaRow, step: number, data: KnownData | null): Promise<boolean> {
    const forward = `, results = ?, state = IF(direction = 'PIVOT', 'FORWARD', state),
      direction = IF(direction = 'PIVOT', 'FORWARD', direction)`;
    const { affectedRows } = await this.database.own.query(
      `UPDATE dtx_saga SET attempts = IF(step = ?, attempts, 0), step = ?${data ? forward : ''} WHERE id = ? AND claim_token = ?`,
      [step, step, ...(data ? [data.stored] : []), id, claim_token],
    );
    return affectedRows === 1;
  }

  /** The pivot that an operator has settled lies behind the saga. Returns false if the claim is lost. */
  async passPivot({ id, claim_token }: SagaRow, step: number, data: KnownData): Promise<boolean> {
    const { affectedRows } = await this.database.own.query(
      `UPDATE dtx_saga SET state = 'FORWARD', direction = 'FORWARD', reason = NULL, step = ?, results = ?, attempts = 0
       WHERE id = ? AND claim_token = ?`,
      [step, data.stored, id, claim_token],
    );
    return affectedRows === 1;
  }

  /** Step 5: the final mark. False if the claim is lost. */
  async settle(row: SagaRow): Promise<boolean> {
    const { statement, values } = this.finalMark(row);
    return (await this.database.own.query(statement, values)).affectedRows > 0;
  }

  /** The statement of `settle`, for the transaction of a last step in this database. It changes no row without the claim. */
  finalMark({ id, claim_token }: SagaRow): SqlStatement {
    // guard: saga.final-mark
    const only = {
      sql: `m.claim_token = ? AND m.state IN ('RUNNING', 'PIVOT', 'FORWARD', 'COMPENSATING')`,
      values: [claim_token],
    };
    return finalMarkOf(SAGA, { ids: [id], only });
  }

  /**
   * Takes the oldest signal, or lets the saga wait for one. The lock on the row of the saga serializes this with a sender,
   * so no signal is missed between the look and the wait.
   */
  async wait(row: SagaRow, entry: WaitEntry, step: number, data: KnownData): Promise<WaitResult> {
    const result = await this.database.own.transaction((sql) => this.waitWithin(sql, row, { entry, step, data }));
    if (result === 'taken') await failpoint(failpoints.signalTaken, async () => {});
    return result;
  }

  private async waitWithin(sql: Sql, row: SagaRow, { entry, step, data }: Waiting): Promise<WaitResult> {
    const [found] = await sql.query(
      `SELECT id, ${isOver(entry)} AS is_over FROM dtx_saga
       WHERE id = ? AND claim_token = ? AND state IN ('RUNNING', 'PIVOT', 'FORWARD') FOR UPDATE`,
      [row.id, row.claim_token],
    );
    if (!found) return 'lost';
    if (await this.takeSignal(sql, row, entry, data))
      return this.passWait(sql, row, entry.refusal ? step : step + 1, data);
    if (Number(found.is_over) === 1) return 'overdue';
    return this.beginWait(sql, row, { entry, step, data });
  }

  private async takeSignal(sql: Sql, { id }: SagaRow, entry: WaitEntry, data: KnownData): Promise<boolean> {
    const [signal] = await sql.query(
      `SELECT signal_id, payload FROM dtx_saga_signal WHERE gid = ? AND name = ? AND taken_at IS NULL
       ORDER BY created_at, signal_id LIMIT 1 FOR UPDATE`,
      [id, entry.signal.name],
    );
    if (!signal) return false;
    await sql.query(
      'UPDATE dtx_saga_signal SET taken_at = UTC_TIMESTAMP(3) WHERE gid = ? AND name = ? AND signal_id = ?',
      [id, entry.signal.name, String(signal.signal_id)],
    );
    data.set(nameOf(entry), JSON.parse(String(signal.payload)));
    return true;
  }

  /**
   * The deadline moves by the time of the wait. A saga whose signal may be refused stays at the wait: if the process dies
   * here, the next one judges the signal again.
   */
  private async passWait(sql: Sql, { id }: SagaRow, step: number, data: KnownData): Promise<WaitResult> {
    await sql.query(
      `UPDATE dtx_saga SET step = ?, results = ?, attempts = 0, reached_at = UTC_TIMESTAMP(3), next_attempt_at = ${this.lease},
         deadline = deadline + INTERVAL TIMESTAMPDIFF(MICROSECOND, COALESCE(waiting_since, UTC_TIMESTAMP(3)), UTC_TIMESTAMP(3)) MICROSECOND,
         waiting_since = NULL, state = IF(direction = 'PIVOT', 'FORWARD', state),
         direction = IF(direction = 'PIVOT', 'FORWARD', direction)
       WHERE id = ?`,
      [step, data.stored, id],
    );
    return 'taken';
  }

  private async beginWait(sql: Sql, { id }: SagaRow, { entry, step, data }: Waiting): Promise<WaitResult> {
    const { withinMs } = entry;
    const until =
      withinMs === null ? NEVER_BY_ITSELF : `waiting_since + INTERVAL ${Math.round(withinMs * 1_000)} MICROSECOND`;
    await sql.query(
      `UPDATE dtx_saga SET step = ?, results = ?, attempts = 0, claim_token = NULL,
         waiting_since = COALESCE(waiting_since, UTC_TIMESTAMP(3)), next_attempt_at = ${until},
         state = IF(direction = 'PIVOT', 'FORWARD', state), direction = IF(direction = 'PIVOT', 'FORWARD', direction)
       WHERE id = ?`,
      [step, data.stored, id],
    );
    return 'waiting';
  }
}

interface Waiting {
  readonly entry: WaitEntry;
  readonly step: number;
  readonly data: KnownData;
}

/** SQL: whether the time limit of the wait has passed. */
function isOver({ withinMs }: WaitEntry): string {
  return withinMs === null ? '0' : `COALESCE(waiting_since <= ${inFuture(-withinMs)}, 0)`;
}
