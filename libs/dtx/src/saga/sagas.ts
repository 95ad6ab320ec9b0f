// Step 1 of 5 - start: the row of the saga commits with the work of the caller. Also cancel and signal, which join a
// transaction of the caller in the same way. If the process dies before that commit, nothing has begun. After it, the scan
// goes on.
import { randomBytes, randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { clockStopped, NOW_IN_ANY_SESSION } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { insertFirst, insertOf } from '../core/database/insert-first.js';
import { joinTransaction } from '../core/database/join-or-run-transaction.js';
import type { Sql } from '../core/database/sql-executor.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { DtxError } from '../core/errors/errors.js';
import { isDuplicateKey } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, assertId } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { emit } from '../core/telemetry-events.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { cut, REASON_STORED_MAX } from './call-messages.js';
import { type Began, Definitions } from './definitions.js';
import { SagaEngine } from './engine.js';
import { failpoints } from './failpoints.js';
import { FirstStep } from './first-step.js';
import { leaseMsOf, SAGA_OPTIONS, type SagaOptions } from './options.js';
import { mustWaitFor, type Saga } from './saga-entries.js';
import { type SagaRow, sagaMigrations } from './saga-tables.js';
import { SCHEME } from './scheme-name.js';
import type { SagaSignal } from './step-contract.js';
import { type SagaOutcome, StoredSagas } from './stored-sagas.js';

/** Options of `Sagas.start`. */
export interface SagaStart {
  /** The gid, 1 to 64 of [0-9A-Za-z_.:-]. A new id by default. */
  readonly gid?: string;
}

/**
 * The answer to a cancel, exact once the transaction of the caller commits. `CANCELLING`: the pivot has not run and never
 * will. `TOO_LATE`: the saga has reached its pivot, and its outcome does not depend on this call. `COMPLETED` and
 * `COMPENSATED`: it was over before.
 */
export type SagaCancel = 'CANCELLING' | 'TOO_LATE' | 'COMPLETED' | 'COMPENSATED';

/**
 * `KEPT`: stored, and taken once when the saga waits for it. `REPEATED`: stored before. `OVER`: the saga does not take it any
 * more. It has ended, is being compensated, or has taken another signal of this name.
 */
export type SagaSignalled = 'KEPT' | 'REPEATED' | 'OVER';

type Locked = Pick<SagaRow, 'state' | 'direction'> & Began;

/** Sagas of this app. They run in its own processes and its own database, without an extra server. */
@Injectable()
export class Sagas implements OnModuleInit {
  /** The fencing token of sagas that this process starts. Their rows start out leased to it. */
  private readonly token = randomUUID();

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly definitions: Definitions,
    private readonly engine: SagaEngine,
    private readonly stored: StoredSagas,
    private readonly firstStep: FirstStep,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-saga', sagaMigrations);
  }

  /**
   * Starts a saga in the transaction of the caller. Resolves to its gid. If the first step belongs to this app and stands
   * alone, it runs in this transaction too. The other steps are called right after the commit.
   * @throws DtxError for an input that does not fit, or for a saga that SagaModule does not have. For a gid that this app
   *   still knows, the next statement or the commit throws it. Rejected of the first step, with which the caller must let
   *   its transaction roll back
   * @throws TransactionRequired outside a transaction
   * @example
   *   await this.dataSource.transaction((tx) => this.sagas.start(tx, purchaseSaga, purchase, { gid: orderId }));
   *   const outcome = await this.sagas.outcome(orderId, 3_000);
   */
  async start<Input>(
    tx: EntityManager,
    saga: Saga<Input>,
    input: Input,
    { gid: given }: SagaStart = {},
  ): Promise<string> {
    const fingerprint = this.definitions.mustHave(saga as Saga);
    const gid = assertGid(given ?? this.database.newId());
    const misfit = `input does not fit saga ${saga.name} v${saga.version}`;
    const subject = { whole: 'input', misfit, option: 'payloadMaxBytes' } as const;
    const { json } = checkedJson(subject, saga.input, input, this.options.payloadMaxBytes);
    const sql = await joinTransaction(tx, this.database.source, 'Sagas.start');
    const row = { ...this.rowOf(saga as Saga, gid, json), fingerprint };
    const done = await this.firstStep.runWithin(tx, sql, row, saga as Saga);
    await this.insert(sql, { ...row, ...done }, saga.deadlineMs);
    this.database.hooks.afterCommit(tx, async () => {
      emit('started', { scheme: SCHEME, id: gid, gid });
      await this.engine.begin({ ...row, ...done });
    });
    return gid;
  }

  /** The outcome of a saga, or null if unknown. Waits up to `waitMs` for its end, and not for a signal or a person. */
  async outcome(gid: string, waitMs = 0): Promise<SagaOutcome | null> {
    return this.stored.find(assertGid(gid), waitMs);
  }

  /**
   * Cancels a saga unless it has reached its pivot. Resolves to null for an unknown gid. The steps are undone after the
   * commit of the caller.
   * @param reason a short code such as `CUSTOMER`, cut to 64 characters
   * @throws DtxError for a malformed gid or reason; TransactionRequired outside a transaction
   * @example
   *   const answer = await this.dataSource.transaction((tx) => this.sagas.cancel(tx, orderId, 'CUSTOMER'));
   */
  async cancel(tx: EntityManager, gid: string, reason: string): Promise<SagaCancel | null> {
    if (typeof reason !== 'string') throw new DtxError(`cannot cancel saga ${gid}: give a reason, such as 'CUSTOMER'`);
    const sql = await joinTransaction(tx, this.database.source, 'Sagas.cancel');
    const row = await this.lock(sql, assertGid(gid));
    if (!row) return null;
    if (row.state === 'COMPLETED' || row.state === 'COMPENSATED') return row.state;
    if (row.direction === 'COMPENSATING') return 'CANCELLING';
    // guard: saga.too-late
    if (row.direction !== null) return 'TOO_LATE';
    await sql.query(
      `UPDATE ${this.table} SET state = 'COMPENSATING', direction = 'COMPENSATING', reason = ?, step = 1000, attempts = 0,
         waiting_since = NULL, decided_at = ${NOW_IN_ANY_SESSION.sql}, claim_token = NULL,
         next_attempt_at = ${NOW_IN_ANY_SESSION.sql} WHERE id = ?`,
      [cut(reason, REASON_STORED_MAX), gid],
    );
    this.database.hooks.afterCommit(tx, () => failpoint(failpoints.decided, async () => this.engine.wake()));
    return 'CANCELLING';
  }

  /**
   * Sends a signal to a saga. It is stored, also before the saga waits for it. A repeat with the same id is one signal.
   * @throws DtxError for a payload that does not fit, a malformed id, an unknown saga, or a saga without `waitFor` of this signal.
   *   TransactionRequired outside a transaction
   * @example
   *   await this.dataSource.transaction((tx) =>
   *     this.sagas.signal(tx, orderId, approval, { by: 'ann', isGiven: true }, { id: requestId }));
   */
  async signal<Payload>(
    tx: EntityManager,
    gid: string,
    signal: SagaSignal<Payload>,
    payload: Payload,
    identity: { readonly id: string },
  ): Promise<SagaSignalled> {
    if (!identity?.id) throw new DtxError(`signal ${signal.name} needs { id }, so that a repeated call counts once`);
    const { id } = identity;
    const subject = {
      whole: 'payload',
      misfit: `payload does not fit saga signal ${signal.name}`,
      option: 'payloadMaxBytes',
    } as const;
    const { json } = checkedJson(subject, signal.payload, payload, this.options.payloadMaxBytes);
    const signal_id = assertId(id, 'id of a signal');
    const sql = await joinTransaction(tx, this.database.source, 'Sagas.signal');
    const row = await this.lock(sql, assertGid(gid));
    if (!row)
      throw new DtxError(
        `cannot signal saga ${gid}: this app has no saga with this gid; check the gid, or start it first`,
      );
    // A version that this build lacks is known to another one.
    const saga = this.definitions.of(row);
    if (saga) mustWaitFor(saga, gid, signal.name);
    if (row.state === 'COMPLETED' || row.state === 'COMPENSATED') return 'OVER';
    const table = this.database.tableIn('dtx_saga_signal');
    const known: Array<{ signal_id: string; taken: unknown }> = await sql.query(
      `SELECT signal_id, taken_at IS NOT NULL AS taken FROM ${table} WHERE gid = ? AND name = ? FOR UPDATE`,
      [gid, signal.name],
    );
    if (known.some(({ signal_id }) => signal_id === id)) return 'REPEATED';
    if (row.direction === 'COMPENSATING' || known.some(({ taken }) => Number(taken) === 1)) return 'OVER';
    const values = { gid, name: signal.name, signal_id, payload: json, created_at: NOW_IN_ANY_SESSION };
    if (!(await insertFirst(sql, table, values).catch(clockStopped))) return 'REPEATED';
    // Only a waiting saga is due at once. Any other one finds the signal when it waits.
    await sql.query(
      `UPDATE ${this.table} SET next_attempt_at = ${NOW_IN_ANY_SESSION.sql} WHERE id = ? AND waiting_since IS NOT NULL
         AND claim_token IS NULL AND state <> 'PARKED'`,
      [gid],
    );
    this.database.hooks.afterCommit(tx, () => failpoint(failpoints.signalled, async () => this.engine.wake()));
    return 'KEPT';
  }

  private get table(): string {
    return this.database.tableIn('dtx_saga');
  }

  /** The lock decides between this call and the writes of a running saga. */
  private async lock(sql: Sql, gid: string): Promise<Locked | undefined> {
    const select = `SELECT state, direction, saga, version, fingerprint FROM ${this.table} WHERE id = ? FOR UPDATE`;
    const rows: Locked[] = await sql.query(select, [gid]);
    return rows[0];
  }

  private rowOf(saga: Saga, gid: string, input: string): Omit<SagaRow, 'fingerprint'> {
    const now = new Date(this.database.nowMs());
    return {
      id: gid,
      // Separates two sagas of one gid. The second may begin after this app has purged the first.
      incarnation: randomBytes(8).toString('hex'),
      saga: saga.name,
      version: saga.version,
      state: 'RUNNING',
      direction: null,
      input,
      results: null,
      step: 0,
      reason: null,
      deadline: new Date(now.getTime() + saga.deadlineMs),
      waiting_since: null,
      decided_at: null,
      reached_at: now,
      created_at: now,
      traceparent: currentTraceparent(),
      attempts: 0,
      claim_token: this.token,
      isFirstRun: true,
    };
  }

  /** The row travels with the next statement of the caller, or with COMMIT. */
  private async insert(guard: TransactionGuard, row: SagaRow, deadlineMs: number): Promise<void> {
    const { isFirstRun: _, ...columns } = row;
    const { statement, values } = insertOf(this.table, {
      ...columns,
      gid: row.id,
      deadline: new SqlExpression(`${NOW_IN_ANY_SESSION.sql} + INTERVAL ${deadlineMs * 1_000} MICROSECOND`),
      next_attempt_at: new SqlExpression(inFuture(leaseMsOf(this.core, this.options))),
      reached_at: NOW_IN_ANY_SESSION,
      created_at: NOW_IN_ANY_SESSION,
    });
    await guard.defer(statement, values, (error) => {
      if (isDuplicateKey(error)) throw new DtxError(`saga ${row.id} exists already; use another gid`);
      return clockStopped(error);
    });
  }
}
