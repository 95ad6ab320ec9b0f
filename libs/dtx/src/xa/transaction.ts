// Steps 2 to 3 of 5 - transaction: work, prepare, decide. `begin-transaction.ts` has step 1.
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { ChangeMissed } from '../core/database/changes-one-row.js';
import { Database } from '../core/database/database.service.js';
import { mayBeForAnAnswer } from '../core/database/held-statements.js';
import { OutcomeUnknown, textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { libraryLogger } from '../core/library-logger.js';
import { measure } from '../core/telemetry-events.js';
import type { BeforeDone } from './before-done-hook.js';
import { BeginTransaction, type Begun } from './begin-transaction.js';
import { refuseFailed } from './branch.js';
import { WorkRefused } from './branch-connection.js';
import { awaitHooks } from './commit-hook-time-limit.js';
import { Admission } from './concurrency-limit.js';
import { Decisions } from './decision-log-entries.js';
import { failpoints, SCHEME } from './failpoints.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { PrepareBranches } from './prepare-branches.js';
import type { XaRun } from './run-options.js';
import { SecondPhase } from './second-phase.js';
import { TracedDecision, TracedRun } from './traced-phases.js';
import { withinDeadline } from './transaction-deadline.js';
import { reasonOf, WaitingFailed } from './work-order.js';
import { XaUnavailable } from './xa-unavailable.js';

/** ER_BAD_NULL_ERROR: the deciding statement fails with it after the deadline. */
const TOO_LATE = 1048;

/**
 * The transaction manager, inside the one program that reaches all the databases. If the process dies before the
 * decision, recovery rolls the branches back. If it dies later, the second phase goes on in any instance.
 */
@Injectable()
export class Xa {
  private readonly logger = libraryLogger('xa');
  private readonly admission: Admission;

  /** @internal */ constructor(
    private readonly database: Database,
    private readonly beginning: BeginTransaction,
    private readonly preparing: PrepareBranches,
    private readonly decisions: Decisions,
    private readonly secondPhase: SecondPhase,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {
    const { concurrencyMax, waitersMax, acquireTimeoutMs: waitMs } = options;
    this.admission = new Admission({ concurrencyMax, waitersMax, waitMs });
  }

  /** Refuses new transactions. Resolves when the running ones have ended. */
  drain(): Promise<void> {
    return this.admission.close();
  }

  /**
   * Sets the hook that runs for every committed transaction, by gid, before its row becomes DONE. It runs in any
   * instance, at least once. `BrokerUnavailable` does not count as an attempt, and the wait before a retry grows to a
   * minute. Other errors count, and finally the row is PARKED. The outcome stays.
   * @throws OptionsError when a hook is set already
   */
  beforeDone(hook: BeforeDone): void {
    this.secondPhase.setBeforeDone(hook);
  }

  /**
   * Runs work that commits in all named databases or in none. The managers are valid inside `work` only. A failed
   * statement rolls everything back, even if the work swallows the error. After the deadline, its statements are
   * refused. All transactions must lock the databases in one order: only a lock wait ends a deadlock across servers.
   * Work that calls `changesOneRow` may run twice.
   * @throws the error of the work, after the rollback
   * @throws XaUnavailable if nothing began or all was rolled back, since a database, a connection or time was missing
   * @throws OutcomeUnknown if the outcome is unknown for now
   * @example
   *   await this.xa.run(['order', 'payment', 'inventory'], async ({ order, payment, inventory }) => {
   *     await takeStock(inventory, purchase); await captureMoney(payment, purchase); await insertOrder(order, purchase);
   *   });
   */
  @TracedRun
  async run<Name extends string, T>(
    names: readonly Name[],
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
    { gid = this.database.newId() }: XaRun = {},
  ): Promise<T> {
    assertGid(gid);
    const leave = await this.admission.enter();
    try {
      const { begun, result } = await this.decided(names, work, { gid, runsAgain: true });
      // In parallel, so a hook that hangs delays no branch's commit.
      const hooks = awaitHooks({ gid, limitMs: this.options.secondPhaseWaitMs }, this.afterCommit(begun), this.logger);
      await Promise.all([this.secondPhase.runNow(begun.row, begun.branches), hooks]);
      return result;
    } finally {
      leave();
    }
  }

  /**
   * Steps 1 to 3. They run once more after a change of `changesOneRow` that missed, and it is sent at once then. All of the
   * first run was rolled back. If the process dies in between, nothing has happened.
   */
  private async decided<Name extends string, T>(
    names: readonly Name[],
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
    { gid, runsAgain }: { gid: string; runsAgain: boolean },
  ): Promise<{ begun: Begun; result: T }> {
    const begun = await this.beginning.begin(names, { gid, runsAgain });
    if (runsAgain) measure('started', { scheme: SCHEME, gid });
    const { participants } = begun;
    try {
      const result = await withinDeadline(participants, { gid, limitMs: this.options.timeoutMs }, async (late) => {
        const given = await this.prepared(begun, (managers: Record<Name, EntityManager>) =>
          Promise.race([this.database.guard.inside(`the work of XA transaction ${gid}`, () => work(managers)), late]),
        );
        // guard: xa.decide
        await this.decide(begun);
        return given;
      });
      return { begun, result };
    } catch (error) {
      const hasMissed = participants.some(({ failure }) => failure instanceof ChangeMissed);
      // guard: xa.runs-again
      if (!hasMissed || !mayBeForAnAnswer(error) || error instanceof XaUnavailable) throw error;
    }
    return this.decided(names, work, { gid, runsAgain: false });
  }

  /** Step 2: the work, then every branch is prepared. Any error here rolls everything back. */
  private async prepared<Name extends string, T>(
    begun: Begun,
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
  ): Promise<T> {
    const { participants, branches, order } = begun;
    try {
      const result = await this.worked(begun, work);
      await endAccess(begun);
      refuseFailed(participants);
      // guard: xa.prepare
      await this.preparing.prepareAll(branches, order);
      // A call of the library that the work has not awaited may have been refused in the middle meanwhile.
      refuseFailed(participants);
      return result;
    } catch (error) {
      await endAccess(begun);
      await this.rollBack(begun);
      throw reasonOf(error);
    }
  }

  private async worked<Name extends string, T>(
    begun: Begun,
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
  ): Promise<T> {
    const { participants, last, order } = begun;
    const managers = Object.fromEntries(participants.map(({ name, manager }) => [name, manager]));
    try {
      const result = await failpoint(failpoints.worked, () => work(managers as Record<Name, EntityManager>));
      await last.beforeCommit();
      return result;
    } catch (error) {
      await endAccess(begun);
      // The work may have failed because of an answer that was not checked yet. Then that failure counts.
      if (mayBeForAnAnswer(error) && !(error instanceof WaitingFailed)) await order.sendAll();
      throw error;
    }
  }

  /** Step 3: one commit in the database of the log. When this returns, the decision is on its disk. */
  @TracedDecision
  private async decide(begun: Begun): Promise<void> {
    const { row, gtrid, last, participants } = begun;
    // guard: xa.log
    const { sql, values } = this.decisions.commitSql(row, gtrid);
    try {
      await failpoint(failpoints.decided, () => last.commitWith({ statement: sql, values }));
    } catch (error) {
      if (error instanceof WorkRefused) {
        await this.rollBack(begun);
        throw error.reason;
      }
      // Error 1048 is definite: the row was not written, and the COMMIT behind it was not read. A duplicate key is not:
      // the row may be this very decision, from a first statement whose answer was lost.
      const isTooLate = (error as { errno?: number }).errno === TOO_LATE;
      last.giveUp();
      const decision = isTooLate ? 'ROLLBACK' : await this.decisions.learnDecision(row, gtrid.startMs);
      if (decision === 'COMMIT') return;
      if (decision === 'ROLLBACK') {
        await this.rollBack(begun);
        // A Galera node refuses a COMMIT that conflicts with one at another node (1213).
        const why = isTooLate
          ? 'missed its deadline (xa.timeoutMs)'
          : `could not commit its decision (${textOf(error)})`;
        throw new XaUnavailable(`${row.gid} ${why} and was rolled back`, { cause: error });
      }
      // The COMMIT may still be running. Recovery gets the branches once their connections have ended.
      for (const one of participants) one.giveUp();
      this.logger.warn(`cannot learn the decision on ${row.gid}, recovery resolves it: ${textOf(error)}`);
      throw new OutcomeUnknown(`the outcome of ${row.gid} is not known yet; ask again later`, { cause: error });
    }
  }

  private async rollBack({ participants }: Begun): Promise<void> {
    await Promise.all(participants.map((one) => one.rollBack()));
  }

  /** Runs after the commit. An error of a user's subscriber no longer changes the outcome. */
  private async afterCommit({ last }: Begun): Promise<void> {
    const hooks = last.takeHooks();
    await last.tellCommitted().catch((error) => {
      this.logger.error(`a subscriber failed after the commit (the transaction is committed): ${textOf(error)}`);
    });
    await this.database.hooks.run(hooks);
  }
}

/** Ends the access of the work to all databases. Resolves when everything that it has sent is answered. */
async function endAccess({ participants, order }: Begun): Promise<void> {
  await Promise.all(participants.map((one) => one.leave()));
  await order.settled();
}
