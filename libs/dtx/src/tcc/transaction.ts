// Steps 1 to 3 of 4 - transaction: register, Try every branch, decide. Presumes nothing: the row says who won.
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { inFuture } from '../core/durable/claim.js';
import { BrokerUnavailable, DtxError, OutcomeUnknown, Rejected, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { currentTraceparent } from '../core/trace.js';
import { branchesOf, type Closed, rowsOf, type TccCalls } from './branches.js';
import { type About, Calls } from './calls.js';
import type { Participant } from './contract.js';
import { failpoints, SCHEME } from './failpoints.js';
import { leaseMsOf, TCC_OPTIONS, type TccOptions } from './options.js';
import { namesOf, Outcomes, outcomeOf, type TccOutcome, TIMEOUT } from './outcome.js';
import { SecondPhase } from './second-phase.js';
import { type Branch, type Decision, type TccRow, tccIndexMigrations, tccMigrations } from './tcc-tables.js';

export interface TccRun {
  /** How long all Tries together may take, in milliseconds; by the database's clock. */
  readonly timeoutMs?: number;
  readonly gid?: string;
  /** Joins the commit that registers the transaction: an Idempotency-Key, say. May run again after a deadlock. */
  readonly within?: (tx: EntityManager) => Promise<void>;
}

const BROKER_WAIT_MS = 1_000;
/** A shorter time limit is for the Tries: what was registered late is cancelled, and its caller is told so. */
const REGISTER_LIMIT_MIN_MS = 2_000;
const REASON_CHARS_MAX = 64;
/** The reason of a cancel after a branch was added too late. */
const INCOMPLETE = 'INCOMPLETE';

/** A transaction on its way to its decision. */
interface Begun {
  readonly gid: string;
  readonly incarnation: string;
  readonly calls: Closed;
}

/** The coordinator, in the initiator's own process and database: no extra server. */
@Injectable()
export class Tcc implements OnModuleInit {
  private readonly logger = new Logger('Tcc');
  /** Fencing token of what this process decides, already leased to itself. */
  private readonly token = randomUUID();

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
   * Runs a TCC transaction: all branches are tried; all are confirmed, or all are cancelled. Answers what really won;
   * PENDING only when that cannot be known now.
   * `define` makes all calls before it returns; one that comes later throws where it is made. Until the decision it also
   * keeps the transaction from being confirmed without it.
   * @throws DtxError for malformed branches, an asynchronous `define` and a gid that this app has used and still knows,
   *   BrokerUnavailable, and what registering throws: then nothing has begun; OutcomeUnknown when registering takes longer
   *   than the time limit: then nothing has begun, or its deadline cancels it
   * @example
   *   const outcome = await this.tcc.run({ timeoutMs: 5_000 }, (t) => {
   *     t.call(orderContract, {...}); t.call(fundsContract, {...}); t.call(stockContract, {...});
   *   });
   */
  async run(run: TccRun, define: (calls: TccCalls) => void): Promise<TccOutcome> {
    const gid = assertGid(run.gid ?? this.database.newId());
    const calls = branchesOf(define, this.options.payloadMaxBytes);
    const begun = { gid, incarnation: newIncarnation(), calls };
    const { branches } = calls;
    const timeoutMs = run.timeoutMs ?? this.options.timeoutMs;
    await this.calls.untilUp(BROKER_WAIT_MS);
    const endsAt = performance.now() + timeoutMs;
    await failpoint(failpoints.registered, () => this.registerInTime(begun, { ...run, timeoutMs }));
    measure('started', { scheme: SCHEME });
    // From here on the row is there: whatever happens to this process, the scan ends the transaction.
    // guard: tcc.tried
    const no = (await this.tryAll(begun, endsAt)) ?? (calls.isIncomplete() ? INCOMPLETE : null);
    const row = await withTimeout(this.options.secondPhaseWaitMs, this.decide(begun, no), () => null);
    if (!row) return { gid, status: 'PENDING', waitingFor: [] };
    if (row.claim_token === this.token) return outcomeOf(row, await this.secondPhase.runNow({ ...row, branches }));
    // The deadline's scan won, maybe in another instance, and is carrying it out.
    const found = await this.outcomes.find(gid, this.options.secondPhaseWaitMs, begun.incarnation).catch(() => null);
    return found ?? outcomeOf(row, namesOf(branches));
  }

  /**
   * What has become of a transaction, or null for an unknown one. A decided one is given up to `waitMs` to be carried
   * out by every branch.
   */
  async outcome(gid: string, waitMs = 0): Promise<TccOutcome | null> {
    return this.outcomes.find(gid, waitMs);
  }

  /** What a branch of a transaction was called with, for who must tell later what it was about; null when there is none. */
  async argsOf<Args>(gid: string, participant: Participant<Args>): Promise<Args | null> {
    return this.outcomes.argsOf(gid, participant);
  }

  /**
   * The time limit holds for registering too (from 2 s on): a connection, or a row that a check needs, may be long in coming. What was
   * not committed by then is rolled back. A commit under way at that moment leaves a row whose deadline cancels it.
   */
  private async registerInTime(begun: Begun, run: TccRun & { timeoutMs: number }): Promise<void> {
    const limitMs = Math.max(run.timeoutMs, REGISTER_LIMIT_MIN_MS);
    const late = new OutcomeUnknown(`TCC transaction ${begun.gid} was not registered within ${limitMs} ms`);
    const limit = new AbortController();
    const registered = this.register(begun, run, () => {
      if (limit.signal.aborted) throw late;
    });
    registered.catch(() => {}); // heard below, or by nobody once it is late
    const isDone = await withTimeout(
      limitMs,
      registered.then(() => true),
      () => false,
    );
    if (isDone) return;
    limit.abort();
    throw late;
  }

  /** Step 1: the transaction and all its branches in one commit, so that no branch can exist that recovery does not know. */
  private register(
    { gid, incarnation, calls }: Begun,
    run: TccRun & { timeoutMs: number },
    mustBeInTime: () => void,
  ): Promise<void> {
    const begin = async (tx: EntityManager, sql: Sql) => {
      mustBeInTime();
      await run.within?.(tx);
      mustBeInTime();
      // After `within`, which may know the outcome already and needs no broker for that.
      if (!this.calls.isUp) throw new BrokerUnavailable('the broker is away: nothing was begun');
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
      if (!first) throw new DtxError(`TCC transaction ${gid} was begun before`);
      for (const rows of rowsOf(gid, calls.branches))
        await sql.query('INSERT INTO dtx_tcc_branch (gid, branch, participant, version, args) VALUES ?', [rows]);
      if (calls.isIncomplete()) throw new DtxError(`TCC transaction ${gid} was not begun: a call came after define`);
      mustBeInTime();
    };
    return this.database.work.run({ what: `beginning TCC transaction ${gid}`, run: begin });
  }

  /** Step 2: all at once. Answers null if every branch has reserved, else why not; the first no is enough. */
  private async tryAll({ gid, incarnation, calls }: Begun, endsAt: number): Promise<string | null> {
    const about = { gid, incarnation, phase: 'try' } as const;
    try {
      await Promise.all(calls.branches.map((branch) => this.tryOne(branch, about, endsAt - performance.now())));
      await failpoint(failpoints.tried, async () => {});
      return null;
    } catch (error) {
      if (error instanceof Rejected) return error.reason.slice(0, REASON_CHARS_MAX);
      if (!isUnavailable(error)) this.logger.error(`${gid}: ${textOf(error)}`);
      return TIMEOUT;
    }
  }

  /** @throws Rejected for a definite no, OutcomeUnknown for everything else that is not a yes */
  private async tryOne(branch: Branch, about: About, timeoutMs: number): Promise<void> {
    const { verdict, reason = verdict } = await this.calls.call(branch, about, Math.max(1, timeoutMs));
    if (verdict === 'ok') return;
    if (verdict === 'refused') throw new Rejected(reason);
    throw new OutcomeUnknown(`Try of ${branch.participant}: ${reason}`);
  }

  /**
   * Step 3: one compare-and-set; the deadline's scan competes for the same one. Whoever lost, or whose answer was lost,
   * learns from the row what really won. Null when the database could not say.
   */
  private async decide(begun: Begun, no: string | null): Promise<TccRow | null> {
    const { gid, incarnation } = begun;
    const giveUpAt = performance.now() + this.options.secondPhaseWaitMs;
    let [decision, reason]: [Decision, string | null] = [no === null ? 'CONFIRM' : 'CANCEL', no];
    for (let attempt = 1; ; attempt++) {
      try {
        const decided = await failpoint(failpoints.decided, () => this.compareAndSet(begun, decision, reason));
        if (decided) return decided;
        const row = await this.outcomes.read(gid, incarnation);
        if (!row) throw new DtxError(`TCC transaction ${gid} is gone`);
        if (row.decision !== null) return row;
        // Confirm was refused because the deadline has passed, and the scan has not come by yet.
        [decision, reason] = ['CANCEL', TIMEOUT];
      } catch (error) {
        if (performance.now() > giveUpAt) {
          this.logger.warn(`${gid}: not known whether ${decision} was decided: ${textOf(error)}`);
          return null;
        }
        await sleep(backoffMs(this.core.reconnect, attempt));
      }
    }
  }

  /** A Confirm is only possible before the deadline, by the database's clock. Null if the row was not TRYING, or it was too late. */
  private async compareAndSet(
    { gid, incarnation }: Begun,
    decision: Decision,
    reason: string | null,
  ): Promise<TccRow | null> {
    const state = decision === 'CONFIRM' ? 'CONFIRMING' : 'CANCELLING';
    // For people and views only: nothing is ever decided by it. So it need not be read back from the database.
    const decidedAt = new Date(this.database.nowMs());
    // guard: tcc.compare-and-set
    const { affectedRows } = await this.database.work.query(
      `UPDATE dtx_tcc SET state = ?, decision = ?, reason = ?, decided_at = ?, claim_token = ?,
         next_attempt_at = ${inFuture(leaseMsOf(this.core, this.options))}
       WHERE id = ? AND incarnation = ? AND state = 'TRYING'${decision === 'CONFIRM' ? ' AND deadline > UTC_TIMESTAMP(3)' : ''}`,
      [state, decision, reason, decidedAt, this.token, gid, incarnation],
    );
    if (affectedRows !== 1) return null;
    const traceparent = currentTraceparent();
    const row = { id: gid, state, attempts: 0, incarnation, decision, reason, decided_at: decidedAt, traceparent };
    return { ...row, claim_token: this.token };
  }
}

/** Tells two transactions of one gid apart: the second may come when this app has forgotten the first. */
function newIncarnation(): string {
  return randomBytes(8).toString('hex');
}
