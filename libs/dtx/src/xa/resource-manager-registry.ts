import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { Database } from '../core/database/database.service.js';
import { poolLike, type SessionPool } from '../core/database/pinned-session-pool.js';
import { pinningSql } from '../core/database/session-settings.js';
import { type Condition, Conditions } from '../core/dependency-health-registry.js';
import { textOf } from '../core/errors/errors.js';
import { isDatabaseAway } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { type BranchDatabase, IDLE_MS } from './branch-database.js';
import { checkBranchNames } from './branch-name-check.js';
import { DecisionLog } from './decision-log-trust.js';
import { silenceSecondsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { type Place, ResourceManager } from './resource-manager.js';
import { XaUnavailable } from './xa-unavailable.js';

export const BRANCHES = Symbol('dtx xa branches');
const POLL_MS = 25;
const LOG_NAME = 'the decision log';

/** All databases of XA: the app's own with the decision log, and the branch databases. */
@Injectable()
export class ResourceManagers {
  readonly branches: readonly ResourceManager[];
  private readonly logger = libraryLogger('xa');
  private readonly stopping = new AbortController();
  private last: SessionPool | undefined;
  private opening: Promise<unknown> = Promise.resolve();
  private isOpeningLog = false;
  /**
   * The error of the last attempt to open a database, or an empty text after a success. Without an entry there was no
   * attempt.
   */
  private readonly tried = new Map<string, string>();
  private readonly openedOnce = new Set<ResourceManager>();
  /** The last problem that was logged, by branch database. */
  private readonly logged = new Map<ResourceManager, string>();

  constructor(
    private readonly database: Database,
    private readonly log: DecisionLog,
    private readonly conditions: Conditions,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
    @Inject(BRANCHES) branches: Readonly<Record<string, BranchDatabase>>,
  ) {
    this.branches = Object.entries(branches).map(
      ([name, database]) => new ResourceManager(name, database, { core, options }),
    );
  }

  /** Starts to open the decision log and the branch databases. Each is retried until it is open. */
  open(): void {
    this.log.whenLost(() => void this.reopenLog());
    this.conditions.register(() => this.degradations());
    this.opening = Promise.all([
      this.reopenLog(),
      ...this.branches.map((branch) => this.keepTrying(branch.name, () => this.openBranch(branch))),
    ]);
  }

  stopOpening(): void {
    this.stopping.abort();
  }

  async close(): Promise<void> {
    await this.opening;
    await Promise.all(this.branches.map((branch) => branch.close()));
    await this.last?.end();
  }

  /** Entities and pool of the last resource. Only after `require`. */
  get lastResource(): Place {
    return { source: this.database.source, pool: this.last! };
  }

  /**
   * The branch databases of these names, once they are open. The app's own name may be among the names.
   * @throws DtxError for a name that is not configured, XaUnavailable with the reason after `waitMs`
   */
  async require(names: readonly string[], waitMs: number): Promise<ResourceManager[]> {
    const wanted = names.filter((name) => name !== this.core.app);
    if (this.branches.length === 0)
      throw new XaUnavailable('XA is not configured: `XaModule.forRoot` has no `branches`');
    checkBranchNames(names, { app: this.core.app, branches: this.branches.map(({ name }) => name) });
    const found = wanted.map((name) => this.branches.find((one) => one.name === name)!);
    const isOpen = () => this.last && !this.log.problem && found.every((one) => !one.problem);
    for (const end = performance.now() + waitMs; !isOpen(); await sleep(POLL_MS)) {
      const problems = found.filter(({ problem }) => problem).map(({ name, problem }) => `${name} ${problem}`);
      const reason = [...(this.log.problem ? [this.log.problem] : []), ...problems].join('; ');
      if (performance.now() > end) throw new XaUnavailable(reason || 'the decision log is not open yet');
    }
    return found;
  }

  /** Logs each change of a branch database's problem, once. */
  logChanges(): void {
    for (const branch of this.openedOnce) {
      const { name, problem, degradation } = branch;
      const state = problem || (degradation && 'late');
      if (state === (this.logged.get(branch) ?? '')) continue;
      this.logged.set(branch, state);
      if (state) this.logger.warn(`branch database ${name} ${degradation}`);
      else this.logger.log(`branch database ${name} works again`);
    }
  }

  /** A database before its first attempt is not degraded yet. */
  private degradations(): Condition[] {
    const log = { name: LOG_NAME, title: 'xa log', reason: this.log.problem };
    const branches = this.branches.map(({ name, degradation }) => ({ name, title: `xa ${name}`, reason: degradation }));
    return [log, ...branches].flatMap(({ name, title, reason }) => {
      const failure = this.tried.get(name);
      if (!reason || failure === undefined) return [];
      return [{ name: title, reason: failure && failure !== reason ? `${reason}: ${failure}` : reason }];
    });
  }

  /**
   * Opens the log, with retries until it is open. A log in another place may come back, or an operator may confirm the
   * move.
   */
  private async reopenLog(): Promise<void> {
    if (this.isOpeningLog) return;
    this.isOpeningLog = true;
    await this.keepTrying(LOG_NAME, () => this.openLog());
    this.isOpeningLog = false;
  }

  private async openLog(): Promise<void> {
    await this.log.open();
    const pins = pinningSql({
      lockWaitSeconds: this.core.lockWaitSeconds,
      silenceSeconds: silenceSecondsOf(this.options),
      asTheUsers: this.database.userSession,
    });
    const size = this.options.concurrencyMax;
    this.last ??= poolLike(this.database.source, pins, {
      size,
      queueMax: size,
      idleMs: IDLE_MS,
      names: this.database.names,
    });
  }

  private async openBranch(branch: ResourceManager): Promise<void> {
    const { vendor, version } = await branch.open();
    this.openedOnce.add(branch);
    this.logger.log(`branch database ${branch.name} is ${vendor} ${version}`);
  }

  /** Opens one database with retries. An unavailable one delays nothing else. Each new reason is logged once. */
  private async keepTrying(name: string, open: () => Promise<void>): Promise<void> {
    let lastText = '';
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        await open();
        this.tried.set(name, '');
        return;
      } catch (error) {
        this.tried.set(name, textOf(error));
        const text = `XA cannot use ${name}, retrying: ${textOf(error)}`;
        if (text !== lastText) {
          // Apps may start in any order, so a missing migration of another app is retried like an unavailable server.
          if (isDatabaseAway(error) || error instanceof XaUnavailable) this.logger.warn(text);
          else this.logger.error(text);
        }
        lastText = text;
        const { signal } = this.stopping;
        await sleep(backoffMs(this.core.reconnect, attempt), undefined, { signal }).catch(() => {});
      }
    }
  }
}
