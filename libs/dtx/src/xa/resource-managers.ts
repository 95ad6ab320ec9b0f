import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { type Condition, Conditions } from '../core/conditions.js';
import { Database } from '../core/database/database.service.js';
import { pinningSql } from '../core/database/session.js';
import { poolLike, type SessionPool } from '../core/database/session-pool.js';
import { DtxError, textOf } from '../core/errors/errors.js';
import { isDatabaseAway } from '../core/errors/sql-errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { type BranchDatabase, IDLE_MS } from './branch-database.js';
import { XaUnavailable } from './errors.js';
import { DecisionLog } from './log.js';
import { silenceSecondsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { type Place, Resource } from './resource-manager.js';

export const BRANCHES = Symbol('dtx xa branches');
const LOOK_EVERY_MS = 25;
const LOG_NAME = 'the decision log';

/** The databases that take part: the app's own, which holds the decision log, and those of the branches. */
@Injectable()
export class Resources {
  readonly branches: readonly Resource[];
  private readonly logger = new Logger('Xa');
  private readonly stopping = new AbortController();
  private last: SessionPool | undefined;
  private opening: Promise<unknown> = Promise.resolve();
  private isOpeningLog = false;
  /** Why the last attempt to open one of them has failed, or an empty text. Without an entry none was made. */
  private readonly tried = new Map<string, string>();
  private readonly openedOnce = new Set<Resource>();
  /** What was last told of a branch that was opened. */
  private readonly told = new Map<Resource, string>();

  constructor(
    private readonly database: Database,
    private readonly log: DecisionLog,
    private readonly conditions: Conditions,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
    @Inject(BRANCHES) branches: Readonly<Record<string, BranchDatabase>>,
  ) {
    this.branches = Object.entries(branches).map(([name, database]) => new Resource(name, database, { core, options }));
  }

  /** Begins to open the decision log and the branch databases. Each is retried until it is open. */
  open(): void {
    this.log.whenLost(() => void this.reopenLog());
    this.conditions.register(() => this.troubles());
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

  /** Where the last resource works, with the user's entities. Only after `require`. */
  get lastResource(): Place {
    return { source: this.database.source, pool: this.last! };
  }

  /**
   * The branches of these names, once they are open. The name of the app's own database may be among the names.
   * @throws DtxError for a name that is not configured; XaUnavailable, which says what is missing, after `waitMs`
   */
  async require(names: readonly string[], waitMs: number): Promise<Resource[]> {
    const wanted = names.filter((name) => name !== this.core.app);
    if (this.branches.length === 0) throw new XaUnavailable('XA is not configured: it has no databases of branches');
    const found = wanted.map((name) => {
      const branch = this.branches.find((one) => one.name === name);
      if (!branch) throw new DtxError(`XA knows no database ${name}`);
      return branch;
    });
    if (found.length === 0 || new Set(wanted).size < wanted.length)
      throw new DtxError(`an XA transaction needs branches, each once; got ${names.join(', ')}`);
    const isOpen = () => this.last && !this.log.problem && found.every((one) => !one.problem);
    for (const end = performance.now() + waitMs; !isOpen(); await sleep(LOOK_EVERY_MS)) {
      const problems = found.filter(({ problem }) => problem).map(({ name, problem }) => `${name} ${problem}`);
      const said = [...(this.log.problem ? [this.log.problem] : []), ...problems].join('; ');
      if (performance.now() > end) throw new XaUnavailable(said || 'the decision log is not open yet');
    }
    return found;
  }

  /** Once per change of what is wrong with a branch database. */
  tellChanges(): void {
    for (const branch of this.openedOnce) {
      const { name, problem, trouble } = branch;
      const state = problem || (trouble && 'late');
      if (state === (this.told.get(branch) ?? '')) continue;
      this.told.set(branch, state);
      if (state) this.logger.warn(`branch database ${name} ${trouble}`);
      else this.logger.log(`branch database ${name} works again`);
    }
  }

  /** What is being opened for the first time is not degraded yet. */
  private troubles(): Condition[] {
    const log = { name: LOG_NAME, title: 'xa log', reason: this.log.problem };
    const branches = this.branches.map(({ name, trouble }) => ({ name, title: `xa ${name}`, reason: trouble }));
    return [log, ...branches].flatMap(({ name, title, reason }) => {
      const failure = this.tried.get(name);
      if (!reason || failure === undefined) return [];
      return [{ name: title, reason: failure && failure !== reason ? `${reason}: ${failure}` : reason }];
    });
  }

  /** Until it is open: one that is somewhere else may come back, or be confirmed by a person. */
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
    this.last ??= poolLike(this.database.source, pins, { size, queueMax: size, idleMs: IDLE_MS });
  }

  private async openBranch(branch: Resource): Promise<void> {
    const { vendor, version } = await branch.open();
    this.openedOnce.add(branch);
    this.logger.log(`branch database ${branch.name} is ${vendor} ${version}`);
  }

  /** A database that is away delays nothing else; one that cannot take part is complained about until it can. */
  private async keepTrying(name: string, open: () => Promise<void>): Promise<void> {
    let said = '';
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        await open();
        this.tried.set(name, '');
        return;
      } catch (error) {
        this.tried.set(name, textOf(error));
        const text = `XA cannot use ${name}: ${textOf(error)}`;
        if (text !== said) {
          // Apps may start in any order: what another one has not migrated yet is waited for like a server.
          if (isDatabaseAway(error) || error instanceof XaUnavailable) this.logger.warn(`${text}; trying on`);
          else this.logger.error(text);
        }
        said = text;
        const { signal } = this.stopping;
        await sleep(backoffMs(this.core.reconnect, attempt), undefined, { signal }).catch(() => {});
      }
    }
  }
}
