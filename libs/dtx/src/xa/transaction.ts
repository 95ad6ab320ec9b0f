// Steps 1 to 3 of 5 - transaction: begin, work on every branch, prepare, decide. Presumed abort: begun is nothing on disk.
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { OutcomeUnknown, textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, newId } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { Admission } from './admission.js';
import type { BeforeDone } from './after-commit.js';
import { LastResource, type Participant, XaBranch } from './branch.js';
import { Decisions } from './decisions.js';
import { XaUnavailable } from './errors.js';
import { failpoints, SCHEME } from './failpoints.js';
import { DecisionLog } from './log.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { Resources } from './resource-managers.js';
import { SecondPhase } from './second-phase.js';
import { isAnswered, type Limits } from './session.js';
import { followed, inTime } from './time-limits.js';
import type { XaRow } from './xa-tables.js';
import { type Gtrid, gtridOf, parseGtrid } from './xid.js';

export interface XaRun {
  /** What the transaction is about, for people and traces: an order's id, say. */
  readonly gid?: string;
}

/** A transaction on its way to its decision. */
interface Begun {
  readonly row: XaRow;
  readonly gtrid: Gtrid;
  readonly last: LastResource;
  readonly branches: readonly XaBranch[];
  readonly everybody: readonly Participant[];
}

/** ER_BAD_NULL_ERROR: how the statement that decides says that the deadline has passed. */
const TOO_LATE = 1048;

/** The transaction manager, inside the one program that reaches all the databases. */
@Injectable()
export class Xa {
  private readonly logger = new Logger('Xa');
  private readonly admission: Admission;

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly secondPhase: SecondPhase,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {
    const { concurrencyMax, waitersMax, acquireTimeoutMs: waitMs } = options;
    this.admission = new Admission({ concurrencyMax, waitersMax, waitMs });
  }

  /** Refuses new transactions. Resolves when those that run have ended. */
  drain(): Promise<void> {
    return this.admission.close();
  }

  /**
   * What is done for every committed transaction, named by its gid, before it counts as done: in whichever instance, and
   * again after a crash, so that it happens at least once. No caller waits for it. `BrokerUnavailable` is no attempt: it
   * is done again after a wait that grows to a minute. Any other error is retried, and in the end the transaction is
   * PARKED, which changes nothing of its outcome.
   * @throws OptionsError when there is one already
   */
  beforeDone(hook: BeforeDone): void {
    this.secondPhase.setBeforeDone(hook);
  }

  /**
   * Runs work that commits in all of the named databases, or in none. The managers are good inside `work` only; any
   * statement of theirs that fails rolls everything back, also when the work has swallowed the error. Work that is not
   * done by the deadline is not waited for: it may run on, but no statement of it is let through. Databases must be
   * locked in one order by everybody: a deadlock across servers is seen by none of them, only by its lock wait.
   * @throws what the work throws, after everything was rolled back; XaUnavailable when it is rolled back, or was never
   *   begun, for want of a database, a connection or time; OutcomeUnknown when nobody can say now: ask later
   * @example
   *   await this.xa.run(['order', 'payment', 'inventory'], async ({ order, payment, inventory }) => {
   *     await takeStock(inventory, purchase); await captureMoney(payment, purchase); await insertOrder(order, purchase);
   *   });
   */
  async run<Name extends string, T>(
    names: readonly Name[],
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
    { gid = this.database.newId() }: XaRun = {},
  ): Promise<T> {
    assertGid(gid);
    const leave = await this.admission.enter();
    try {
      const begun = await this.begin(names, gid);
      measure('started', { scheme: SCHEME });
      const result = await inTime(begun.everybody, { gid, limitMs: this.options.timeoutMs }, async (late) => {
        const given = await this.prepared(begun, (managers: Record<Name, EntityManager>) =>
          Promise.race([this.database.guard.inside(`the work of XA transaction ${gid}`, () => work(managers)), late]),
        );
        // guard: xa.decide
        await this.decide(begun);
        return given;
      });
      // Side by side: a hook that cannot know what it has done keeps no branch from its commit.
      const hooks = followed({ gid, limitMs: this.options.secondPhaseWaitMs }, this.afterCommit(begun), this.logger);
      await Promise.all([this.secondPhase.runNow(begun.row, begun.branches), hooks]);
      return result;
    } finally {
      leave();
    }
  }

  /** Step 1: the last resource gives the time, the xid carries it, and every branch begins with its witness. */
  private async begin(names: readonly string[], gid: string): Promise<Begun> {
    const { acquireTimeoutMs: withinMs, timeoutMs } = this.options;
    const limits = { withinMs, limitMs: timeoutMs };
    const resources = await this.resources.require(names, withinMs);
    const last = await this.beginLast(limits);
    const id = newId(Number(last.place.ms));
    const gtrid = gtridOf(last.place.log_id, id, timeoutMs);
    const started = await Promise.allSettled(
      resources.map(({ name, work }) => XaBranch.start(name, work, { gtrid, ...limits })),
    );
    const branches = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = started.find((one) => one.status === 'rejected');
    if (failed) {
      await Promise.all([last, ...branches].map((one) => one.rollBack()));
      throw failed.reason;
    }
    const about = { id, gid, gtrid, branches: branches.map(({ name }) => name).join(',') };
    const row = {
      ...about,
      before_done: this.secondPhase.hasBeforeDone ? 1 : 0,
      decision: 'COMMIT',
      state: 'COMMITTING',
      attempts: 0,
      claim_token: this.decisions.token,
    } as const;
    return { row, gtrid: parseGtrid(gtrid)!, last, branches, everybody: [last, ...branches] };
  }

  /** @throws XaUnavailable when it has begun in another log than was opened */
  private async beginLast(limits: Limits): Promise<LastResource> {
    const { placeSql } = this.log;
    const last = await LastResource.start(this.core.app, this.resources.lastResource, { placeSql, ...limits });
    try {
      this.log.confirm(last.place);
      return last;
    } catch (error) {
      await last.rollBack();
      throw error;
    }
  }

  /** Step 2: the work, then every branch is prepared. Whatever goes wrong here, all is rolled back. */
  private async prepared<Name extends string, T>(
    begun: Begun,
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
  ): Promise<T> {
    const { everybody, branches } = begun;
    try {
      const managers = Object.fromEntries(everybody.map(({ name, manager }) => [name, manager]));
      const result = await failpoint(failpoints.worked, () => work(managers as Record<Name, EntityManager>));
      await begun.last.beforeCommit();
      await Promise.all(everybody.map((one) => one.leave()));
      refuseFailed(everybody);
      // guard: xa.prepare
      await this.prepareAll(branches);
      return result;
    } catch (error) {
      await Promise.all(everybody.map((one) => one.leave()));
      await this.rollBack(begun);
      throw error;
    }
  }

  /** In parallel. A lost answer counts as no: that branch's connection is given up, and the recovery finds what is left. */
  private async prepareAll(branches: readonly XaBranch[]): Promise<void> {
    const all = await Promise.allSettled(
      branches.map(async (branch, index) => {
        const prepare = () => branch.prepare();
        try {
          await (index === 0 ? failpoint(failpoints.preparedFirst, prepare) : prepare());
        } catch (error) {
          if (!isAnswered(error)) branch.giveUp();
          throw error;
        }
      }),
    );
    const failed = all.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    await failpoint(failpoints.preparedAll, async () => {});
  }

  /** Step 3: one commit in the database of the log. When this returns, the decision is on its disk. */
  private async decide(begun: Begun): Promise<void> {
    const { row, gtrid, last, everybody } = begun;
    // guard: xa.log
    const { sql, values } = this.decisions.commitSql(row, gtrid);
    try {
      await failpoint(failpoints.decided, () => last.commitWith(sql, values));
    } catch (error) {
      // Definite: the row was not written, so the COMMIT behind it was not looked at. A duplicate key says no such thing:
      // what was there before may be this very decision, written when its answer was lost and it was sent once more.
      const isNo = (error as { errno?: number }).errno === TOO_LATE;
      last.giveUp();
      const stands = isNo ? 'ROLLBACK' : await this.decisions.whatStands(row, gtrid.startMs);
      if (stands === 'COMMIT') return;
      if (stands === 'ROLLBACK') {
        await this.rollBack(begun);
        throw new XaUnavailable(`${row.gid} was not decided before its deadline: rolled back`, { cause: error });
      }
      // The COMMIT may still be running. Nothing is touched: without their connections the branches are the recovery's.
      for (const one of everybody) one.giveUp();
      this.logger.warn(`${row.gid}: not known whether it was decided: ${textOf(error)}`);
      throw new OutcomeUnknown(`whether ${row.gid} was committed is not known yet`, { cause: error });
    }
  }

  private async rollBack({ everybody }: Begun): Promise<void> {
    await Promise.all(everybody.map((one) => one.rollBack()));
  }

  /** Whatever a subscriber of the user's throws now, the transaction is committed. */
  private async afterCommit({ last }: Begun): Promise<void> {
    const hooks = last.takeHooks();
    await last.tellCommitted().catch((error) => {
      this.logger.error(`a subscriber failed (the transaction is committed): ${textOf(error)}`);
    });
    await this.database.hooks.run(hooks);
  }
}

function refuseFailed(everybody: readonly Participant[]): void {
  const failed = everybody.find(({ failure }) => failure !== undefined);
  // guard: xa.failed-statement
  if (failed) throw failed.failure;
}
