// Steps 2 to 4 at the app of a step: barrier and business in one local transaction. If the process dies before the
// commit, no effect remains. After it, the barrier answers the repeated call.
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { clockStopped, NOW_IN_ANY_SESSION, NOW_MS } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { firstUnlessThere, insertOf, type SqlStatement, together } from '../core/database/insert-first.js';
import type { Changed } from '../core/database/mysql2-types.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import type { Sql } from '../core/database/sql-executor.js';
import { DtxError, Rejected, textOf } from '../core/errors/errors.js';
import { isDuplicateKey } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { copyOfJson } from '../core/json-copy.js';
import type { CoreOptions } from '../core/options.js';
import {
  BARRIER,
  type BarrierDecision,
  doRow,
  enterFence,
  enterUndo,
  forgotten,
  KEEP_RESULT,
  keepResultIn,
  keepResultValues,
  keptArgs,
  knownDo,
  recordRefusal,
  type StepKey,
} from './barrier.js';
import { type Call, cut, type Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import type { StepContract } from './step-contract.js';
import type { SagaStepContext } from './step-decorators.js';
import { type MountedStep, problemOfKind } from './step-discovery.js';
import { applied, resultOf, storedResult } from './step-results.js';
import { keyOf } from './step-violations.js';

/** Clocks of two databases may differ by this much, in milliseconds, before the age of a saga misleads. */
const CLOCKS_MS = 30_000;

/** The row of the Do exists already. */
class Known extends Error {}
/** Rolls the transaction back, barrier row included. */
class Illegal extends Error {}

/** The final mark of a saga in the same database. It commits with the last step, or neither does. */
export type Joined = SqlStatement;

/** The saga of this process has lost its claim, so the last step was rolled back with its final mark. */
export class ClaimLost extends Error {}

/** Runs calls. Each either commits as a whole or leaves nothing. */
@Injectable()
export class StepRuns {
  /** Sagas whose rows are locked by the transaction of their last step. */
  private readonly marking = new Set<string>();
  private readonly sharing: SharingByName;

  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {
    this.sharing = new SharingByName(options.callsPerTransaction);
  }

  /** @throws Misfit, and every error of the business, with everything rolled back */
  run(call: Call, step: MountedStep, joined?: Joined): Promise<Verdict> {
    if (call.phase !== 'do') return this.back(call, step);
    return this.do(call, step, joined).finally(() => this.marking.delete(call.gid));
  }

  /** Whether the last step of the saga runs here, in the transaction that holds the lock of the saga's row. */
  isMarking(gid: string): boolean {
    return this.marking.has(gid);
  }

  /**
   * Runs a Do in a transaction of the caller, which holds its barrier row too. The row travels with the next statement.
   * @throws Rejected of the business, which the caller must let roll its transaction back
   */
  async doWithin(tx: EntityManager, guard: TransactionGuard, call: Call, step: MountedStep): Promise<unknown> {
    const key = keyOf(call, step.contract);
    const table = this.database.tableIn(BARRIER);
    const { statement, values } = insertOf(table, { ...doRow(key, call.args), created_at: NOW_IN_ANY_SESSION });
    await guard.defer(statement, values, (error) => {
      if (isDuplicateKey(error))
        throw new DtxError(`${step.contract.name} has run before for saga ${call.gid}; use another gid`);
      return clockStopped(error);
    });
    const result = await this.resultOfDo(tx, call, step);
    if (result !== undefined) await guard.defer(keepResultIn(table), keepResultValues(key, result));
    return result;
  }

  private async do(call: Call, step: MountedStep, joined: Joined | undefined): Promise<Verdict> {
    const problem = problemOfKind(call.kind, step);
    if (problem) return { verdict: 'illegal', reason: problem };
    const key = keyOf(call, step.contract);
    const what = `Do of ${step.contract.name}`;
    try {
      const result = await this.database.work.run({
        what,
        first: firstUnlessThere(together(firstOf(key, call.args, joined)), () => new Known()),
        sharing: this.sharing.of(`${step.contract.name}.v${step.contract.version}`),
        run: (tx, sql, answers) => {
          if (joined) mustBeMarked(answers.at(-1) as Changed, call);
          if (joined) this.marking.add(call.gid);
          return this.first(tx, sql, call, step);
        },
      });
      return { verdict: 'ok', result };
    } catch (error) {
      if (error instanceof Known) return this.again(call, step, joined);
      if (error instanceof Illegal) return { verdict: 'illegal', reason: cut(error.message) };
      if (!(error instanceof Rejected)) throw error;
      const reason = textOf(error.reason);
      return this.answerOf(await recordRefusal(this.database.work, key, call.args, reason));
    }
  }

  /** The first run of a Do. Its row was inserted with the begin of the transaction. */
  private async first(tx: EntityManager, sql: TransactionGuard, call: Call, step: MountedStep): Promise<unknown> {
    await failpoint(failpoints.doInserted, async () => {});
    const key = keyOf(call, step.contract);
    if (this.isOld(call)) throw new Illegal((forgotten(key) as { what: string }).what);
    const result = await this.resultOfDo(tx, call, step);
    if (result !== undefined) await sql.defer(KEEP_RESULT, keepResultValues(key, result));
    return result;
  }

  private again(call: Call, { contract }: MountedStep, joined: Joined | undefined): Promise<Verdict> {
    const run = async (_: EntityManager, sql: Sql) => {
      const decision = await knownDo(sql, keyOf(call, contract), call.args);
      if (decision.kind === 'repeat' && joined) mustBeMarked(await sql.query(joined.statement, joined.values), call);
      return this.answerOf(decision);
    };
    return this.database.work.run({ what: `repeated Do of ${contract.name}`, run });
  }

  /** Undo or fence. A locked row is answered before the time limit of the call. */
  private async back(call: Call, step: MountedStep): Promise<Verdict> {
    const { contract } = step;
    const key = keyOf(call, contract);
    const run = async (tx: EntityManager, sql: Sql): Promise<Verdict> => {
      const enter = call.phase === 'undo' ? enterUndo : enterFence;
      const decision = await enter(sql, key, () => this.isOldNow(sql, call));
      if (decision.kind === 'illegal') throw new Illegal(decision.what);
      if (decision.kind !== 'run') return { ...this.answerOf(decision), isDone: decision.kind === 'repeat' };
      if (!step.undo) throw new Illegal(`class of ${contract.name} has no method with @Undo`);
      await step.undo(tx, fitting(contract, decision.args), contextOf(call, storedResult(contract, decision.result)));
      return { verdict: 'ok' };
    };
    const lockWaitSeconds = Math.max(
      1,
      Math.min(this.core.lockWaitSeconds, Math.floor((this.options.callTimeoutMs * 0.75) / 1_000)),
    );
    try {
      return await this.database.work.run({ what: `${call.phase} of ${contract.name}`, lockWaitSeconds, run });
    } catch (error) {
      if (error instanceof Illegal) return { verdict: 'illegal', reason: cut(error.message) };
      throw error;
    }
  }

  /** Runs `@Done`, after the commit. If the process dies here, the saga calls again and it runs again. */
  async afterDo(call: Call, { contract, done }: MountedStep, result: unknown): Promise<void> {
    if (!done) return;
    const limits = { what: `@Done of ${contract.name}`, limitMs: this.core.handlerTimeoutMs };
    const step = contextOf(call, storedResult(contract, result));
    await inTimeOf(limits, () => done(fitting(contract, call.args), step));
  }

  /**
   * Runs `@Done` of a pivot that a fence has found. The call that has committed the pivot may have died before its own
   * `@Done`, and after the fence the saga calls the pivot no more.
   */
  async afterFence(call: Call, step: MountedStep, result: unknown): Promise<void> {
    if (!step.done) return;
    const args = await keptArgs(this.database.own, keyOf(call, step.contract));
    await this.afterDo({ ...call, args }, step, result);
  }

  private answerOf(decision: BarrierDecision): Verdict {
    if (decision.kind === 'refused') return { verdict: 'refused', reason: decision.reason };
    if (decision.kind === 'late') return { verdict: 'late' };
    if (decision.kind === 'illegal') return { verdict: 'illegal', reason: cut(decision.what) };
    return { verdict: 'ok', result: decision.kind === 'repeat' ? decision.result : undefined };
  }

  /** Whether barrier rows of this call's saga may have been purged here. */
  private isOld({ since }: Call, nowMs = this.database.nowMs()): boolean {
    const { retentionMs } = this.options;
    return nowMs - Date.parse(since) > retentionMs - Math.min(CLOCKS_MS, retentionMs / 10);
  }

  /** The same, by the clock of the database at this moment. */
  private async isOldNow(sql: Sql, call: Call): Promise<boolean> {
    const [{ ms }] = await sql.query<[{ ms: unknown }]>(`SELECT ${NOW_MS} AS ms`);
    return this.isOld(call, Number(ms));
  }

  /** @throws DtxError when the result cannot be stored, which undoes the Do */
  private async resultOfDo(tx: EntityManager, call: Call, { contract, do: run }: MountedStep): Promise<unknown> {
    const returned = await run(tx, fitting(contract, call.args), contextOf(call));
    return resultOf(contract, returned, this.options.payloadMaxBytes);
  }
}

/** The statements of a Do that are sent with the begin of its transaction. */
function firstOf(key: StepKey, args: unknown, joined: Joined | undefined): SqlStatement[] {
  const row = insertOf(BARRIER, doRow(key, args));
  // guard: saga.do-row
  return joined ? [row, joined] : [row];
}

/** @throws ClaimLost */
function mustBeMarked({ affectedRows }: Changed, { gid }: Call): void {
  // guard: saga.joined-mark
  if (affectedRows !== 1) throw new ClaimLost(`saga ${gid} belongs to another process`);
}

/** The arguments of a call, a copy for every run, since a method or a schema may change them. @throws Misfit */
function fitting({ name, args }: StepContract, given: unknown): unknown {
  return applied(args, copyOfJson(given), `arguments do not fit saga step ${name}`);
}

function contextOf(call: Call): SagaStepContext;
function contextOf(call: Call, result: unknown): SagaStepContext<unknown>;
function contextOf({ gid, initiator, saga, reason }: Call, result?: unknown): SagaStepContext<unknown> {
  return { gid, initiator, saga, result, reason };
}
