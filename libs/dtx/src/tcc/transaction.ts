// Steps 1 to 3 of 4 - transaction: register, Try every branch, decide. No presumption: the row holds the decision.
// If the process dies before the decision, the deadline cancels. After it, the second phase goes on in any instance.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { Database } from '../core/database/database.service.js';
import { DtxError, OutcomeUnknown, Rejected, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import type { CallDetails, Verdict } from './call-messages.js';
import { Decisions } from './decision.js';
import { branchesOf, type TccCalls } from './define-branches.js';
import { failpoints, SCHEME } from './failpoints.js';
import { TCC_OPTIONS, type TccOptions, timeoutOf } from './options.js';
import { Calls } from './participant-calls.js';
import type { Participant } from './participant-contract.js';
import { type Begun, Registration, type Verdicts } from './registration.js';
import type { TccRun } from './run-options.js';
import { SecondPhase } from './second-phase.js';
import { INCOMPLETE, namesOf, Outcomes, outcomeOf, type TccOutcome, TIMEOUT } from './stored-outcome.js';
import { type Branch, type Decision, type TccRow, tccIndexMigrations, tccMigrations } from './tcc-tables.js';
import { TracedRun } from './traced-phases.js';

const BROKER_WAIT_MS = 1_000;
const REASON_CHARS_MAX = 64;

/** The coordinator. It runs in the initiator's own process and database, without an extra server. */
@Injectable()
export class Tcc implements OnModuleInit {
  private readonly logger = libraryLogger('tcc');

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly calls: Calls,
    private readonly outcomes: Outcomes,
    private readonly registration: Registration,
    private readonly decisions: Decisions,
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
   *   registration exceeds the time limit, or the answer to its COMMIT was lost: nothing has begun, or the deadline cancels it
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
    const answers = await failpoint(failpoints.registered, () =>
      this.registration.inTime(begun, { ...run, timeoutMs }),
    );
    measure('started', { scheme: SCHEME, id: gid, gid });
    // The row exists from here on. If this process dies, the scan ends the transaction.
    // guard: tcc.tried
    const refusal = (await this.tryAll(begun, answers, endsAt)) ?? (calls.isIncomplete() ? INCOMPLETE : null);
    const row = await withTimeout(this.decisions.waitMs, this.decide(begun, refusal), () => null);
    if (!row) return { gid, status: 'PENDING', waitingFor: [] };
    if (row.claim_token === this.decisions.token)
      return outcomeOf(row, await this.secondPhase.runNow({ ...row, branches }));
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
   * Step 2: all Tries at once, but for those that the registration has made. Resolves to null if each has reserved,
   * otherwise to the first failure's reason.
   */
  private async tryAll({ gid, incarnation, calls }: Begun, answers: Verdicts, endsAt: number): Promise<string | null> {
    const about = { gid, incarnation, phase: 'try' } as const;
    const others = calls.branches.filter(({ branch }) => !answers.has(branch));
    try {
      for (const [branch, answer] of answers) mustBeOk(calls.branches[branch]!, answer);
      await Promise.all(others.map((branch) => this.tryOne(branch, about, endsAt - performance.now())));
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
    mustBeOk(branch, await this.calls.call(branch, about, Math.max(1, timeoutMs)));
  }

  /**
   * Step 3: one compare-and-set, in competition with the deadline's scan. The loser reads the decision from the row.
   * Resolves to null if the database does not answer.
   */
  private async decide(begun: Begun, refusal: string | null): Promise<TccRow | null> {
    const { gid, incarnation } = begun;
    const giveUpAt = performance.now() + this.decisions.waitMs;
    let [decision, reason]: [Decision, string | null] = [refusal === null ? 'CONFIRM' : 'CANCEL', refusal];
    for (let attempt = 1; ; attempt++) {
      try {
        const decided = await failpoint(failpoints.decided, () => this.decisions.make(begun, decision, reason));
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
}

/** @throws Rejected for a business refusal, OutcomeUnknown for any other failure */
function mustBeOk({ participant }: Branch, { verdict, reason = verdict }: Verdict): void {
  if (verdict === 'ok') return;
  if (verdict === 'refused') throw new Rejected(reason);
  throw new OutcomeUnknown(`Try of ${participant} failed: ${reason}`);
}
