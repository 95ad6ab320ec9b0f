// Calls the steps of one group together, and waits for all of them. No sibling runs on while the saga turns.
import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { isoTime } from '../core/durable/alerts.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { type Failpoint, failpoint } from '../core/failpoint.js';
import type { Call, Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import type { KnownData } from './known-data.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import { ClaimLost, type Joined } from './run-step.js';
import { type CallEntry, nameOf } from './saga-entries.js';
import type { SagaRow } from './saga-tables.js';
import { argumentsOf } from './step-arguments.js';
import { StepCalls } from './step-calls.js';

/** The end of one call. */
export interface Answered extends Verdict {
  readonly entry: CallEntry;
  /** The text of every verdict but `ok`, with the call in front. */
  readonly error: string;
}

/** The entries of a group with their arguments. */
export interface Prepared {
  readonly calls: ReadonlyArray<{ readonly entry: CallEntry; readonly args: unknown }>;
  /** Entries whose arguments cannot be made. */
  readonly unmade: readonly Answered[];
}

/** Makes the calls of a saga. */
@Injectable()
export class GroupCalls {
  constructor(
    private readonly calls: StepCalls,
    private readonly database: Database,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {}

  /** Makes the arguments of every entry. An error of a maker is the failure of its entry. */
  prepare(entries: readonly CallEntry[], data: KnownData): Prepared {
    const calls: Array<Prepared['calls'][number]> = [];
    const unmade: Answered[] = [];
    for (const entry of entries)
      try {
        calls.push({ entry, args: this.argsOf(entry, data) });
      } catch (error) {
        unmade.push({ verdict: 'failed', entry, error: `do of ${nameOf(entry)}: ${textOf(error)}` });
      }
    return { calls, unmade };
  }

  /**
   * Do of every entry. If the arguments of one could not be made, none is called.
   * @param joined the final mark, for a single entry that lives in this process
   * @throws ClaimLost
   */
  async doAll(row: SagaRow, { calls, unmade }: Prepared, joined?: Joined): Promise<readonly Answered[]> {
    if (unmade.length > 0) return unmade;
    const since = isoTime(row.reached_at)!;
    return Promise.all(
      calls.map(({ entry, args }) => {
        const about = { ...detailsOf(row, entry), phase: 'do', args, since } as const;
        const point = entry.kind === 'pivot' ? failpoints.pivotAnswered : failpoints.stepAnswered;
        return this.call(row, entry, about, { joined, point });
      }),
    );
  }

  undoAll(row: SagaRow, entries: readonly CallEntry[]): Promise<Answered[]> {
    const about = { phase: 'undo', reason: row.reason ?? undefined, since: isoTime(row.created_at)! } as const;
    return Promise.all(entries.map((entry) => this.call(row, entry, { ...detailsOf(row, entry), ...about })));
  }

  fence(row: SagaRow, entry: CallEntry): Promise<Answered> {
    const about = { ...detailsOf(row, entry), phase: 'fence', since: isoTime(row.reached_at)! } as const;
    return failpoint(failpoints.fenced, () => this.call(row, entry, about));
  }

  /** The entry's step, if it lives in this process and nothing has to follow its commit. */
  canJoin({ step }: CallEntry): boolean {
    const local = this.calls.localOf(step);
    return local !== undefined && local.step.done === undefined;
  }

  /** @throws ClaimLost */
  private async call(
    row: SagaRow,
    entry: CallEntry,
    about: Omit<Call, 'callId' | 'initiator'>,
    { joined, point }: { readonly joined?: Joined | undefined; readonly point?: Failpoint } = {},
  ): Promise<Answered> {
    const label = `${about.phase} of ${nameOf(entry)}`;
    try {
      const answer = await this.calls.call(entry.step, about, this.options.callTimeoutMs, joined);
      const { verdict, reason = verdict, isBusy } = answer;
      if (verdict === 'ok') await failpoint(point, async () => {});
      return { ...answer, verdict: isBusy ? this.absenceVerdict(row) : verdict, entry, error: `${label}: ${reason}` };
    } catch (error) {
      if (error instanceof ClaimLost) throw error;
      // A missing queue is a failure. A missing or slow app is an absence.
      const verdict = isUnavailable(error) ? this.absenceVerdict(row) : 'failed';
      return { verdict, entry, error: `${label}: ${textOf(error)}`, isBusy: verdict === 'away' };
    }
  }

  /** Before a decision the deadline is the limit. After it, an absence counts as a failure once it has lasted `absentMs`. */
  private absenceVerdict({ decided_at }: SagaRow): 'away' | 'failed' {
    if (decided_at === null) return 'away';
    return this.database.nowMs() - Date.parse(isoTime(decided_at)!) > this.options.absentMs ? 'failed' : 'away';
  }

  /** In the form that the app of the step gets. @throws DtxError that names the field */
  argsOf(entry: CallEntry, data: KnownData): unknown {
    return argumentsOf(entry, data, this.options.payloadMaxBytes);
  }
}

function detailsOf({ id: gid, incarnation, saga }: SagaRow, { kind }: CallEntry) {
  return { gid, incarnation, saga, kind };
}
