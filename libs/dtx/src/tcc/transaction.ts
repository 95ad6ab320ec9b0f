// Steps 1 to 3 of 4 - transaction: register, Try every branch, decide. No presumption: the row holds the decision.
// If the process dies before the decision, the deadline cancels. After it, the second phase goes on in any instance.
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { BrokerUnavailable, DtxError, OutcomeUnknown, Rejected, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import type { CallDetails } from './call-messages.js';
import { branchesOf, type ClosedCalls, type TccCalls } from './define-branches.js';
import { failpoints, SCHEME } from './failpoints.js';
import { insertBranches } from './insert-branches.js';
import { leaseMsOf, TCC_OPTIONS, type TccOptions, timeoutOf } from './options.js';
import { Calls } from './participant-calls.js';
import type { Participant } from './participant-contract.js';
import type { TccRun } from './run-options.js';
import { SecondPhase } from './second-phase.js';
import { INCOMPLETE, namesOf, Outcomes, outcomeOf, type TccOutcome, TIMEOUT } from './stored-outcome.js';
import { type Branch, type Decision, type TccRow, tccIndexMigrations, tccMigrations } from './tcc-tables.js';
import { TracedRun } from './traced-phases.js';

const BROKER_WAIT_MS = 1_000;
/** Minimum time limit of the registration. A shorter `timeoutMs` applies to the Tries only and then cancels. */
const REGISTER_LIMIT_MIN_MS = 2_000;
const REASON_CHARS_MAX = 64;

/** A transaction before its decision. */
interface Begun {
  readonly gid: string;
  readonly incarnation: string;
  readonly calls: ClosedCalls;
}

/** The coordinator. It runs in the initiator's own process and database, without an extra server. */
@Injectable()
export class Tcc implements OnModuleInit {
  private readonly logger = libraryLogger('tcc');
  /** The fencing token of decisions that this process makes. Their rows start out leased to it. */
  private readonly token = randomUUID();

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly calls: Calls,
    private readonly outcomes: Outcomes,
    private readonly secondPhase: SecondPhase,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-tcc', tccMigrations);
    this.database.addMigrations('dtx-tcc-index', tccIndexMigrations);
  }

  /**
   * Runs a TCC transaction: tries all branches, then confirms all or cancels all. Resolves to the final outcome, or to
   * PENDING. `define` makes all calls before it returns. A later call throws, and before the decision it also cancels.
   * @throws DtxError for malformed branches, an invalid `timeoutMs`, an asynchronous `define`, or a gid that this app still knows.
   *   BrokerUnavailable and database errors of the registration: nothing has begun. OutcomeUnknown when the
   *   registration exceeds the time limit: nothing has begun, or the deadline cancels it
   * @example
   *   const outcome = await this.tcc.run({ timeoutMs: 5_000 }, (t) => {
   *     t.call(orderContract, {...}); t.call(fundsContract, {...}); t.call(stockContract, {...});
   *   });
   */
  @TracedRun
  async run(run: TccRun, define: (calls: TccCalls) => void): Promise<TccOutcome> {
    const gid = assertGid(run.gid ?? this.database.newId());
    const calls = branchesOf(define, this.options.payloadMaxBytes);
    // Separates two transactions of one gid. The second may begin after this app has purged the first.
    const begun = { gid, incarnation: randomBytes(8).toString('hex'), calls };
    const [{ branches }, timeoutMs] = [calls, timeoutOf(run.timeoutMs, this.options)];
    await this.calls.untilUp(BROKER_WAIT_MS);
    const endsAt = performance.now() + timeoutMs;
    await failpoint(failpoints.registered, () => this.registerInTime(begun, { ...run, timeoutMs }));
    measure('started', { scheme: SCHEME });
    // The row exists from here on. If this process dies, the scan ends the transaction.
    // guard: tcc.tried
    const refusal = (await this.tryAll(begun, endsAt)) ?? (calls.isIncomplete() ? INCOMPLETE : null);
    const row = await withTimeout(this.options.secondPhaseWaitMs, this.decide(begun, refusal), () => null);
    if (!row) return { gid, status: 'PENDING', waitingFor: [] };
    if (row.claim_token === this.token) return outcomeOf(row, await this.secondPhase.runNow({ ...row, branches }));
    // The scan has cancelled after the deadline, perhaps in another instance, and runs the second phase.
    const found = await this.outcomes.find(gid, this.options.secondPhaseWaitMs, begun.incarnation).catch(() => null);
    return found ?? outcomeOf(row, namesOf(branches));
  }

  /** The outcome of a transaction, or null if unknown. Waits up to `waitMs` for the second phase of a decided one. */
  async outcome(gid: string, waitMs = 0): Promise<TccOutcome | null> {
    return this.outcomes.find(gid, waitMs);
  }

  /** The arguments of a participant's branch in a transaction, or null without such a branch. */
  async argsOf<Args>(gid: string, participant: Participant<Args>): Promise<Args | null> {
    return this.outcomes.argsOf(gid, participant);
  }

  /**
   * Applies the time limit (at least 2 s) to the registration, since a connection or a row lock may take long. A commit
   * that runs at the limit leaves a row, which the deadline cancels. Otherwise the registration is rolled back.
   */
  private async registerInTime(begun: Begun, run: TccRun & { timeoutMs: number }): Promise<void> {
    const limitMs = Math.max(run.timeoutMs, REGISTER_LIMIT_MIN_MS);
    const late = new OutcomeUnknown(`TCC transaction ${begun.gid} was not registered within ${limitMs} ms`);
    const limit = new AbortController();
    const registered = this.register(begun, run, () => {
      if (limit.signal.aborted) throw late;
    });
    registered.catch(() => {}); // handled below, and ignored after the time limit
    const isDone = await withTimeout(
      limitMs,
      registered.then(() => true),
      () => false,
    );
    if (isDone) return;
    limit.abort();
    throw late;
  }

  /** Step 1: one commit holds the transaction and all its branches, so recovery knows every branch. */
  private register(
    { gid, incarnation, calls }: Begun,
    run: TccRun & { timeoutMs: number },
    mustBeInTime: () => void,
  ): Promise<void> {
    const begin = async (tx: EntityManager, sql: Sql) => {
      mustBeInTime();
      await run.within?.(tx);
      mustBeInTime();
      // After `within`, which may find an existing outcome and then needs no broker.
      if (!this.calls.isUp)
        throw new BrokerUnavailable('cannot begin a TCC transaction: RabbitMQ is unavailable, retry');
      // guard: tcc.deadline
      const deadline = new SqlExpression(inFuture(run.timeoutMs));
      const first = await insertFirst(sql, 'dtx_tcc', {
        id: gid,
        gid,
        incarnation,
        state: 'TRYING',
        deadline,
        next_attempt_at: deadline,
        traceparent: currentTraceparent(),
        created_at: NOW,
      });
      if (!first) throw new DtxError(`TCC transaction ${gid} exists already; use another gid`);
      await insertBranches(sql, gid, calls.branches);
      if (calls.isIncomplete())
        throw new DtxError(`TCC transaction ${gid} was not begun: a call came after define had returned`);
      mustBeInTime();
    };
    return this.database.work.run({ what: `beginning TCC transaction ${gid}`, run: begin });
  }

  /** Step 2: all Tries at once. Resolves to null if each has reserved, otherwise to the first failure's reason. */
  private async tryAll({ gid, incarnation, calls }: Begun, endsAt: number): Promise<string | null> {
    const about = { gid, incarnation, phase: 'try' } as const;
    try {
      await Promise.all(calls.branches.map((branch) => this.tryOne(branch, about, endsAt - performance.now())));
      await failpoint(failpoints.tried, async () => {});
      return null;
    } catch (error) {
      if (error instanceof Rejected) return error.reason.slice(0, REASON_CHARS_MAX);
      if (!isUnavailable(error))
        this.logger.error(`Try failed in ${gid}, cancelling it in every branch: ${textOf(error)}`);
      return TIMEOUT;
    }
  }

  /** @throws Rejected for a business refusal, OutcomeUnknown for any other failure */
  private async tryOne(branch: Branch, about: CallDetails, timeoutMs: number): Promise<void> {
    const { verdict, reason = verdict } = await this.calls.call(branch, about, Math.max(1, timeoutMs));
    if (verdict === 'ok') return;
    if (verdict === 'refused') throw new Rejected(reason);
    throw new OutcomeUnknown(`Try of ${branch.participant} failed: ${reason}`);
  }

  /**
   * Step 3: one compare-and-set, in competition with the deadline's scan. The loser reads the decision from the row.
   * Resolves to null if the database does not answer.
   */
  private async decide(begun: Begun, refusal: string | null): Promise<TccRow | null> {
    const { gid, incarnation } = begun;
    const giveUpAt = performance.now() + this.options.secondPhaseWaitMs;
    let [decision, reason]: [Decision, string | null] = [refusal === null ? 'CONFIRM' : 'CANCEL', refusal];
    for (let attempt = 1; ; attempt++) {
      try {
        const decided = await failpoint(failpoints.decided, () => this.compareAndSet(begun, decision, reason));
        if (decided) return decided;
        const row = await this.outcomes.read(gid, incarnation);
        if (!row) {
          this.logger.error(
            `${gid} was deleted from ${this.database.names.inDatabase('dtx_tcc')} before its decision; cancel its reservations by hand`,
          );
          return null;
        }
        if (row.decision !== null) return row;
        if (row.state !== 'TRYING') throw new DtxError(`TCC transaction ${gid} is ${row.state} without a decision`);
        // Confirm was refused because the deadline has passed, and the scan has not run yet.
        [decision, reason] = ['CANCEL', TIMEOUT];
      } catch (error) {
        if (performance.now() > giveUpAt) {
          this.logger.warn(`cannot learn the decision on ${gid} (${decision}), recovery resolves it: ${textOf(error)}`);
          return null;
        }
        await sleep(backoffMs(this.core.reconnect, attempt));
      }
    }
  }

  /** Decides. Null if the row was not TRYING, or for a Confirm after the deadline by the database's clock. */
  private async compareAndSet(
    { gid, incarnation }: Begun,
    decision: Decision,
    reason: string | null,
  ): Promise<TccRow | null> {
    const state = decision === 'CONFIRM' ? 'CONFIRMING' : 'CANCELLING';
    // For people and views only. No decision depends on it, so it is not read back from the database.
    const decidedAt = new Date(this.database.nowMs());
    // guard: tcc.compare-and-set
    const { affectedRows } = await this.database.work.query(
      `UPDATE dtx_tcc SET state = ?, decision = ?, reason = ?, decided_at = ?, claim_token = ?,
         next_attempt_at = ${inFuture(leaseMsOf(this.core, this.options))}
       WHERE id = ? AND incarnation = ? AND state = 'TRYING'${decision === 'CONFIRM' ? ' AND deadline > UTC_TIMESTAMP(3)' : ''}`,
      [state, decision, reason, decidedAt, this.token, gid, incarnation],
    );
    if (affectedRows !== 1) return null;
    const row = { id: gid, state, attempts: 0, incarnation, decision, reason, decided_at: decidedAt };
    return { ...row, traceparent: currentTraceparent(), claim_token: this.token };
  }
}
