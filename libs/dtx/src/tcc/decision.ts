// Step 3 of 4 - decide: one compare-and-set, in competition with the deadline's scan. Confirm of the first own participant
// joins its commit. If the process dies before the commit, the deadline cancels. After it, the decision stands.
import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { NoFreePlace } from '../core/broker/called-side.js';
import { Database } from '../core/database/database.service.js';
import { firstUnlessThere, type SqlStatement, together } from '../core/database/insert-first.js';
import type { Changed } from '../core/database/mysql2-types.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import type { Unit } from '../core/database/unit-of-work.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { isDoneInPart, TookTooLong } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { directEntry } from './barrier.js';
import { failpoints } from './failpoints.js';
import { leaseMsOf, secondLockWaitSeconds, TCC_OPTIONS, type TccOptions } from './options.js';
import { isOfCall, type OwnAnswers, type OwnCall, PlaceTaken, type Progress } from './own-participant.js';
import { Calls } from './participant-calls.js';
import { keyOf } from './protocol-violations.js';
import type { Begun } from './registration.js';
import { secondCallOf } from './second-phase-result.js';
import type { Decision, TccRow } from './tcc-tables.js';

/** A joined Confirm that takes a longer part of the time limit of a call is rolled back, and called apart. */
const JOINED_PARTS = 2;

/** The statements of a decision with a Confirm: the compare-and-set, and the insert and the read of the barrier. */
const COMPARE_INSERT_READ = 3;

/** The result of a decision with a Confirm. Without a commit, the answers say why. */
interface Joint {
  readonly isDecided: boolean;
  readonly answers: OwnAnswers;
}

/** The row was not TRYING, or its deadline has passed. */
class NotDecided extends Error {}

@Injectable()
export class Decisions {
  /** The fencing token of decisions that this process makes. Their rows start out leased to it. */
  readonly token = randomUUID();
  private readonly sharing: SharingByName;

  constructor(
    private readonly database: Database,
    private readonly calls: Calls,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {
    this.sharing = new SharingByName(options.callsPerTransaction);
  }

  /** How long a caller waits for a decision, and for the Confirm in it. */
  get waitMs(): number {
    return this.options.secondPhaseWaitMs + this.options.callTimeoutMs / JOINED_PARTS;
  }

  /** Decides. Null if the row was not TRYING, or for a Confirm after the deadline by the database's clock. */
  async make(begun: Begun, decision: Decision, reason: string | null): Promise<TccRow | null> {
    const row = this.rowOf(begun, decision, reason);
    const own = decision === 'CONFIRM' ? this.calls.firstOwn(begun.calls.branches, secondCallOf(row)) : undefined;
    try {
      const joined = own && (await this.withConfirm(own, row));
      if (joined?.isDecided) return { ...row, own: joined.answers };
      const { statement, values } = this.compareAndSet(row);
      const { affectedRows } = await this.database.work.query(statement, values);
      return affectedRows === 1 ? { ...row, own: joined?.answers } : null;
    } catch (error) {
      if (error instanceof NotDecided) return null;
      throw error;
    }
  }

  /**
   * Decides with Confirm of an own participant in one commit. Undefined if that Confirm has to be called apart: another
   * row has its place, another transaction has locked its rows, or it takes long. The other branches do not wait for it.
   * @throws NotDecided
   */
  private async withConfirm({ call, participant, name }: OwnCall, row: TccRow): Promise<Joint | undefined> {
    const limitMs = this.options.callTimeoutMs / JOINED_PARTS;
    const packet = together([this.compareAndSet(row), directEntry(keyOf(call, { name }), 'confirm')]);
    let progress: Progress = 'not begun';
    const unit: Unit<void> = {
      what: `deciding on TCC transaction ${row.id}`,
      first: firstUnlessThere(packet, () => new PlaceTaken()),
      sharing: this.sharing.of('decide'),
      parted: () => {
        progress = 'not begun';
      },
      lockWaitSeconds: secondLockWaitSeconds(this.core, this.options),
      run: async (tx, sql, answers) => {
        progress = 'not begun'; // the unit runs again after a deadlock
        // guard: tcc.decided-first
        if ((answers.at(-COMPARE_INSERT_READ) as Changed).affectedRows !== 1) throw new NotDecided();
        progress = 'running';
        await failpoint(failpoints.deciding, async () => {});
        const limit = { what: `Confirm in ${row.id}`, limitMs, option: 'callTimeoutMs' };
        await inTimeOf(limit, () => participant.join(call, { tx, sql, answers }));
        progress = 'returned';
      },
    };
    try {
      await participant.inPlace(call, limitMs, () => this.database.work.run(unit));
      return { isDecided: true, answers: new Map([[call.branch, () => participant.committed(call)]]) };
    } catch (error) {
      if (error instanceof PlaceTaken || error instanceof NoFreePlace || isLockWait(error)) return undefined;
      if (!isDoneInPart(error) && !isOfCall(error, progress)) throw error;
      if (error instanceof TookTooLong) return undefined;
      const answer = await participant.failed(call, error);
      return { isDecided: false, answers: new Map([[call.branch, async () => answer]]) };
    }
  }

  private rowOf({ gid, incarnation }: Begun, decision: Decision, reason: string | null): TccRow {
    return {
      id: gid,
      state: decision === 'CONFIRM' ? 'CONFIRMING' : 'CANCELLING',
      attempts: 0,
      incarnation,
      decision,
      reason,
      // For people and views only. No decision depends on it, so it is not read back from the database.
      decided_at: new Date(this.database.nowMs()),
      traceparent: currentTraceparent(),
      claim_token: this.token,
    };
  }

  private compareAndSet({ id, incarnation, state, decision, reason, decided_at: decidedAt }: TccRow): SqlStatement {
    // guard: tcc.compare-and-set
    const statement = `UPDATE dtx_tcc SET state = ?, decision = ?, reason = ?, decided_at = ?, claim_token = ?,
         next_attempt_at = ${inFuture(leaseMsOf(this.core, this.options))}
       WHERE id = ? AND incarnation = ? AND state = 'TRYING'${decision === 'CONFIRM' ? ' AND deadline > UTC_TIMESTAMP(3)' : ''}`;
    return { statement, values: [state, decision, reason, decidedAt, this.token, id, incarnation] };
  }
}
