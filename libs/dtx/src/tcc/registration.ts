// Step 1 of 4 - register: one commit holds the transaction and all its branches, so recovery knows every branch. The Try of
// the first own participant joins it. If the process dies before the commit, nothing has begun.
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { NoFreePlace } from '../core/broker/called-side.js';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { firstUnlessThere, insertOf, type SqlStatement, together } from '../core/database/insert-first.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import type { Sql } from '../core/database/sql-executor.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import type { Unit } from '../core/database/unit-of-work.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import {
  BrokerUnavailable,
  DtxError,
  isDoneInPart,
  OutcomeUnknown,
  TookTooLong,
  textOf,
} from '../core/errors/errors.js';
import { isDuplicateKey, isLockWait } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { directEntry } from './barrier.js';
import type { Call, Verdict } from './call-messages.js';
import type { ClosedCalls } from './define-branches.js';
import { insertsOf } from './insert-branches.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';
import { isLostCommit, isOfCall, type Joined, type OwnCall, PlaceTaken, type Progress } from './own-participant.js';
import { Calls } from './participant-calls.js';
import { keyOf } from './protocol-violations.js';
import type { TccRun } from './run-options.js';
import { Outcomes } from './stored-outcome.js';

/** Minimum time limit of the registration. A shorter `timeoutMs` applies to the Tries only and then cancels. */
const REGISTER_LIMIT_MIN_MS = 2_000;
/** A joined Try that takes a longer part of the time limit is rolled back, and made apart from the registration. */
const JOINED_PARTS = 4;

/** A transaction before its decision. */
export interface Begun {
  readonly gid: string;
  readonly incarnation: string;
  readonly calls: ClosedCalls;
}

/** The answers of calls by branch number. */
export type Verdicts = ReadonlyMap<number, Verdict>;

type Limits = TccRun & { readonly timeoutMs: number };

/** The result of a registration with a Try: without a commit, the answers say why. */
interface Tried {
  readonly isRegistered: boolean;
  readonly answers: Verdicts;
}

@Injectable()
export class Registration {
  private readonly sharing: SharingByName;

  constructor(
    private readonly database: Database,
    private readonly calls: Calls,
    private readonly outcomes: Outcomes,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) options: TccOptions,
  ) {
    this.sharing = new SharingByName(options.callsPerTransaction);
  }

  /**
   * Registers a transaction, and returns the answers to the Tries that it has made. The time limit is at least 2 s, since a
   * connection or a row lock may take long. A commit that runs at the limit leaves a row, which the deadline cancels.
   * Otherwise the registration is rolled back.
   * @throws OutcomeUnknown after the time limit, or if the answer to its COMMIT was lost and its row is not there
   */
  async inTime(begun: Begun, run: Limits): Promise<Verdicts> {
    const limitMs = Math.max(run.timeoutMs, REGISTER_LIMIT_MIN_MS);
    const late = () => new OutcomeUnknown(`TCC transaction ${begun.gid} was not registered within ${limitMs} ms`);
    const limit = new AbortController();
    const registered = this.register(begun, run, () => {
      if (limit.signal.aborted) throw late();
    });
    registered.catch(() => {}); // handled below, and ignored after the time limit
    const answers = await withTimeout(limitMs, registered, () => null);
    if (answers) return answers;
    limit.abort();
    throw late();
  }

  private async register(begun: Begun, run: Limits, mustBeInTime: () => void): Promise<Verdicts> {
    const { gid, incarnation, calls } = begun;
    const own = this.calls.firstOwn(calls.branches, { gid, incarnation, phase: 'try' });
    const joined = own && (await this.withTry(own, begun, run, mustBeInTime));
    if (joined?.isRegistered) return joined.answers;
    await this.alone(begun, run, mustBeInTime);
    return joined?.answers ?? new Map();
  }

  /**
   * Registers with the Try of an own participant in one commit. Undefined if that Try has to be made apart: another
   * transaction has its place or its rows, or it takes long.
   */
  private async withTry(
    { call, participant, name }: OwnCall,
    begun: Begun,
    run: Limits,
    mustBeInTime: () => void,
  ): Promise<Tried | undefined> {
    const limitMs = run.timeoutMs / JOINED_PARTS;
    const entry = directEntry(keyOf(call, { name }), 'try');
    let progress: Progress = 'not begun';
    // Also when the unit runs again after a deadlock.
    const begins = () => {
      progress = 'not begun';
      mustBeInTime();
    };
    const unit = this.unit(begun, run, { entry, mustBeInTime: begins }, async (joined) => {
      progress = 'running';
      const limit = { what: `Try in ${begun.gid}`, limitMs, option: 'timeoutMs' };
      await inTimeOf(limit, () => participant.join(call, joined));
      progress = 'returned';
      mustBeInTime();
    });
    const lockWaitSeconds = Math.max(1, Math.min(this.core.lockWaitSeconds, Math.floor(limitMs / 1_000)));
    try {
      const parted = () => {
        progress = 'not begun';
      };
      await participant.inPlace(call, limitMs, () => this.database.work.run({ ...unit, lockWaitSeconds, parted }));
      return triedBy(call);
    } catch (error) {
      if (isLostCommit(error, progress)) {
        await this.mustBeThere(begun, error);
        return triedBy(call);
      }
      if (error instanceof PlaceTaken || error instanceof NoFreePlace || isLockWait(error)) return undefined;
      const isInPart = !run.within && isDoneInPart(error);
      if (!isInPart && !isOfCall(error, progress)) throw error;
      if (error instanceof TookTooLong) return undefined;
      return { isRegistered: false, answers: new Map([[call.branch, await participant.failed(call, error)]]) };
    }
  }

  private async alone(begun: Begun, run: Limits, mustBeInTime: () => void): Promise<void> {
    const { gid, incarnation: own } = begun;
    let progress: Progress = 'not begun';
    const begins = () => {
      progress = 'not begun';
      mustBeInTime();
    };
    const last = async () => {
      progress = 'returned';
      mustBeInTime();
    };
    try {
      await this.database.work.run(this.unit(begun, run, { mustBeInTime: begins }, last));
    } catch (error) {
      if (isLostCommit(error, progress)) return this.mustBeThere(begun, error);
      if (!(error instanceof PlaceTaken)) throw error;
      // A method that has committed its Try by itself may have committed the registration with it.
      if (!(await this.outcomes.read(gid, own)))
        throw new DtxError(`TCC transaction ${gid} exists already; use another gid`);
    }
  }

  /** The answer to COMMIT was lost. Without its row, it may still be under way. @throws OutcomeUnknown */
  private async mustBeThere({ gid, incarnation: own }: Begun, error: unknown): Promise<void> {
    if (await this.outcomes.read(gid, own).catch(() => null)) return;
    throw new OutcomeUnknown(`no answer to the COMMIT that begins TCC transaction ${gid}: ${textOf(error)}`, {
      cause: error,
    });
  }

  /** The rows travel with the begin of the transaction, or follow `within`. */
  private unit(
    begun: Begun,
    run: Limits,
    { entry, mustBeInTime }: { entry?: SqlStatement; mustBeInTime: () => void },
    last: (joined: Joined) => Promise<void>,
  ): Unit<void> {
    const { gid, calls } = begun;
    const [transaction, [branches, ...more]] = [insertOfTransaction(begun, run), insertsOf(gid, calls.branches)];
    const packet = together([transaction, branches, entry].filter((one) => one !== undefined));
    const { within } = run;
    if (!within) this.mustBeUp();
    const work = async (tx: EntityManager, sql: Sql, given: readonly unknown[]) => {
      mustBeInTime();
      await within?.(tx);
      mustBeInTime();
      // After `within`, which may find an existing outcome and then needs no broker.
      this.mustBeUp();
      const answers = within ? await sent(sql, packet) : given;
      for (const one of more) await sql.query(one.statement, one.values);
      if (calls.isIncomplete())
        throw new DtxError(`TCC transaction ${gid} was not begun: a call came after define had returned`);
      await last({ tx, sql, answers: entry && answers });
    };
    const what = `beginning TCC transaction ${gid}`;
    // Code of the caller may not find its own rows when it runs again after a lost answer to COMMIT.
    if (within) return { what, run: work };
    return {
      what,
      first: firstUnlessThere(packet, () => new PlaceTaken()),
      sharing: this.sharing.of('register'),
      run: work,
    };
  }

  /** @throws BrokerUnavailable */
  private mustBeUp(): void {
    if (!this.calls.isUp) throw new BrokerUnavailable('cannot begin a TCC transaction: RabbitMQ is unavailable, retry');
  }
}

const triedBy = ({ branch }: Call): Tried => ({ isRegistered: true, answers: new Map([[branch, { verdict: 'ok' }]]) });

function insertOfTransaction({ gid, incarnation }: Begun, run: Limits): SqlStatement {
  // guard: tcc.deadline
  const deadline = new SqlExpression(inFuture(run.timeoutMs));
  return insertOf('dtx_tcc', {
    id: gid,
    gid,
    incarnation,
    state: 'TRYING',
    deadline,
    next_attempt_at: deadline,
    traceparent: currentTraceparent(),
    created_at: NOW,
  });
}

/** The answers to several statements. @throws PlaceTaken */
async function sent(sql: Sql, { statement, values }: SqlStatement): Promise<readonly unknown[]> {
  try {
    const answers = await sql.query<unknown>(statement, values);
    return Array.isArray(answers) ? answers : [answers];
  } catch (error) {
    // A statement of `within` that waited in front may have met a key of its own.
    throw isDuplicateKey(error) && sql.failure === undefined ? new PlaceTaken() : error;
  }
}
