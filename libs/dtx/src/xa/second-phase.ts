// Step 4 of 5 - second phase: what was decided is done to every branch until each is in its place; in any instance.
import { Inject, Injectable, Logger } from '@nestjs/common';
import { Alerts } from '../core/alert/alerts.js';
import { Database } from '../core/database/database.service.js';
import { isUnavailable } from '../core/database/sql-errors.js';
import { Batcher } from '../core/durable/batcher.js';
import { settleAgain } from '../core/durable/claim.js';
import { DurableLoop, type Tried } from '../core/durable/loop.js';
import { OptionsError } from '../core/errors.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import type { XaBranch } from './branch.js';
import { Decisions } from './decisions.js';
import { failpoints, SCHEME } from './failpoints.js';
import { leaseMsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { Resources } from './resources.js';
import { XA, type XaRow } from './schema.js';
import { commitBranch, rollBackBranch, type Settled } from './settle.js';

/** What follows a committed transaction, named by its gid. */
export type BeforeDone = (gid: string) => Promise<void>;

/** What came of one branch in one round. `away`: its database does not answer, which is no attempt. */
interface Carried {
  readonly settled: Settled | 'away';
  readonly about: string;
}

/** A row that waits for what follows its commit waits again for this part of its age, at most so long. */
const FOLLOW_AGAIN_PART = 1 / 4;
const FOLLOW_AGAIN_MS_MAX = 60_000;

/**
 * Carries decisions out. The caller's process does it right after the decision, on the connections that have prepared
 * the branches; the scan takes over when that process died, from sessions of its own, and believes only the witnesses.
 */
@Injectable()
export class SecondPhase {
  private readonly logger = new Logger('SecondPhase');
  private readonly loop: DurableLoop<XaRow>;
  private readonly marks: Batcher<XaRow>;
  /** Branches of this process's own transactions, by the row's id, and who waits for them. */
  private readonly own = new Map<string, { branches: ReadonlyMap<string, XaBranch>; told: () => void }>();

  private beforeDone: BeforeDone | undefined;
  /** Rows that are in work for nothing else than what follows their commit. */
  private following = 0;

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly decisions: Decisions,
    alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, async (rows) => {
      await failpoint(failpoints.marked, () => this.decisions.markDone(rows.map(({ id }) => id)));
      for (const { id } of rows) measure('settled', { scheme: SCHEME, ms: database.ageMs(id) });
    });
    this.loop = new DurableLoop<XaRow>(
      {
        scheme: SCHEME,
        table: XA,
        leaseMs: leaseMsOf(core, options),
        scanIntervalMs: core.scanIntervalMs,
        // Room for every transaction of this process, and for as many that others have left.
        concurrencyMax: 2 * options.concurrencyMax,
        attemptsMax: options.attemptsMax,
        backoff: options.backoff,
        canRun: () => true,
        run: (row) => this.run(row),
        describe: (row) => ({
          gid: row.gid,
          step: `carrying out ${row.decision ?? 'no decision'} of an XA transaction`,
        }),
      },
      database,
      alerts,
    );
  }

  /** @throws OptionsError for a second one */
  setBeforeDone(hook: BeforeDone): void {
    if (this.beforeDone) throw new OptionsError('xa.beforeDone was given twice');
    this.beforeDone = hook;
  }

  start(): void {
    this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop.stop();
    await this.marks.drain();
  }

  wake(): void {
    this.loop.wake();
  }

  /**
   * The fast path: the decision was made here just now. Resolves after the first round, or when that takes too long;
   * the outcome is certain either way.
   */
  async runNow(row: XaRow, branches: readonly XaBranch[]): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.secondPhaseWaitMs);
      const told = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.loop.room <= 0) return void this.commitOnly(branches).then(told);
      this.own.set(row.id, { branches: new Map(branches.map((branch) => [branch.name, branch])), told });
      this.loop.runNow(row);
    });
  }

  /** Without room the locks are let go of all the same; the row, whose lease runs out, is left to the scan. */
  private async commitOnly(branches: readonly XaBranch[]): Promise<void> {
    await Promise.all(branches.map((branch) => this.isCommitted(branch)));
  }

  /** A row that this process has just decided on for somebody else's branches. Without room it waits for its lease to end. */
  takeUp(row: XaRow): void {
    if (this.loop.room > 0) this.loop.runNow(row);
  }

  private async run(row: XaRow): Promise<Tried> {
    const own = this.own.get(row.id);
    this.own.delete(row.id);
    try {
      const open = await this.round(row, own?.branches ?? new Map());
      if (open) return open;
    } finally {
      // What is left to do for it is nothing that a caller waits for.
      own?.told();
    }
    return this.finish(row);
  }

  /**
   * One round over all branches in parallel: one that cannot be reached does not hold back the others. Null when every
   * one of them is in its place.
   */
  private async round(row: XaRow, own: ReadonlyMap<string, XaBranch>): Promise<Tried | null> {
    if (row.decision === null) return { kind: 'hopeless', error: 'whether it was decided is not known any more' };
    let isFirst = true;
    const carried = await Promise.all(
      row.branches.split(',').map(async (name) => {
        const one = await this.carryOut(row, name, own.get(name));
        if (one.settled === 'done' && row.decision === 'COMMIT' && isFirst) {
          isFirst = false;
          await failpoint(failpoints.firstBranch, async () => {});
        }
        return one;
      }),
    );
    const open = carried.filter(({ settled }) => settled !== 'done');
    if (open.length > 0) return triedOf(open);
    await failpoint(row.decision === 'COMMIT' ? failpoints.allBranches : failpoints.claimed, async () => {});
    return null;
  }

  /** What follows a commit comes before the mark: should it fail, or the process die, the row is due again. */
  private async finish(row: XaRow): Promise<Tried> {
    if (row.decision === 'COMMIT' && this.beforeDone) {
      const away = await this.follow(row, this.beforeDone);
      if (away !== null) return this.followLater(row, away);
    }
    // Not awaited: should the mark fail, the lease runs out and the witnesses are looked at again.
    this.marks.add(row).catch((error) => this.logger.warn(`cannot mark ${row.id}: ${(error as Error).message}`));
    return { kind: 'settled' };
  }

  /**
   * Null once it is done, else what it needs and cannot have now. Half of the room is kept from it: what it needs may
   * hang, and branches that hold locks must not wait for that.
   */
  private async follow({ gid }: XaRow, hook: BeforeDone): Promise<string | null> {
    if (this.following >= this.options.concurrencyMax) return 'too many others wait for what follows their commit';
    this.following++;
    try {
      await hook(gid);
      return null;
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return (error as Error).message;
    } finally {
      this.following--;
    }
  }

  /**
   * Not an attempt. All its branches are in their places, so it may wait, and the longer it has waited the longer: a
   * broker that is away for hours makes a thousand such rows, and none of them may crowd out one that holds locks.
   */
  private async followLater(row: XaRow, error: string): Promise<Tried> {
    const ageMs = this.database.ageMs(row.id) ?? 0;
    const longest = Math.min(ageMs * FOLLOW_AGAIN_PART, FOLLOW_AGAIN_MS_MAX);
    const delayMs = Math.max(longest, leaseMsOf(this.core, this.options));
    await settleAgain(this.database.own, XA, row, { error, delayMs, attempts: row.attempts });
    return { kind: 'settled' };
  }

  private async carryOut(row: XaRow, name: string, own: XaBranch | undefined): Promise<Carried> {
    const about = `${row.decision} at ${name}`;
    if (own && (await this.isCommitted(own))) return { settled: 'done', about };
    const resource = this.resources.branches.find((one) => one.name === name);
    if (!resource) return { settled: 'contrary', about: `${about}: this database is not configured any more` };
    if (!resource.isKnown) return { settled: 'away', about };
    const settle = row.decision === 'COMMIT' ? commitBranch : rollBackBranch;
    const settled = await settle(resource, row.gtrid).catch((error) => {
      this.logger.warn(`${row.id}: ${about}: ${(error as Error).message}`);
      return 'away' as const;
    });
    return { settled, about: `${about}: ${WHY[settled]}` };
  }

  /** On its own connection, which is given up unless the commit has succeeded on it. */
  private async isCommitted(branch: XaBranch): Promise<boolean> {
    try {
      await branch.commit();
      return true;
    } catch {
      branch.giveUp();
      return false;
    }
  }
}

const WHY = {
  done: 'done',
  away: 'the database does not answer',
  held: 'a session still holds the branch',
  contrary: 'the branch is not there and has not left its witness: it has gone the other way (heuristic outcome)',
};

/** Who holds a branch is alive, or its server will end it for its silence: to wait for that is no attempt. */
function triedOf(open: readonly Carried[]): Tried {
  const error = open.map(({ about }) => about).join('; ');
  if (open.some(({ settled }) => settled === 'contrary')) return { kind: 'hopeless', error };
  return open.every(({ settled }) => settled === 'away') ? { kind: 'unreachable' } : { kind: 'failed', error };
}
