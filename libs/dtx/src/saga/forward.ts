// Steps 2 to 3 of 5 - forward: Do step by step, the pivot, and the steps after it. Data decides where a saga goes on, and
// no code is replayed. If the process dies, another one calls the steps again, and each answers with its kept result.
import { Inject, Injectable } from '@nestjs/common';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { type Answered, GroupCalls } from './group-calls.js';
import { KnownData } from './known-data.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import { failureOf, isCounted } from './round-result.js';
import { ClaimLost } from './run-step.js';
import { type CallEntry, nameOf, type Saga, type SagaEntry, type WaitEntry } from './saga-entries.js';
import { SagaRows } from './saga-rows.js';
import type { SagaRow } from './saga-tables.js';
import { StepRecords } from './step-records.js';

/** The reason of a compensation without a refusal or a cancel: the deadline or the limit of a wait has passed. */
export const TIMEOUT = 'TIMEOUT';
/** The reason of a compensation after too many failed attempts. */
export const FAILED = 'FAILED';

/**
 * How a run of a saga ends.
 * - `completed`: every step is done. `isMarked`: the final mark is in the commit of the last step.
 * - `compensate`: the way back, with its reason and the last group that may have run.
 * - `stopped`: it waits for a signal, or another process has the claim.
 * - `again`: not now. `isAnew`: the run has got on, so its attempts begin anew.
 */
export type RunEnd =
  | { readonly kind: 'completed'; readonly row: SagaRow; readonly isMarked: boolean }
  | { readonly kind: 'compensate'; readonly reason: string; readonly through: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'away' | 'failed' | 'fatal'; readonly error: string; readonly isAnew: boolean };

/** One run. `row.direction` changes in it. */
interface Run {
  row: SagaRow;
  readonly saga: Saga;
  readonly data: KnownData;
  /** Whether the final mark is in the commit of the last step. */
  isMarked: boolean;
}

/** Undefined: the group is done, go on. */
type GroupEnd = RunEnd | undefined;

const STOPPED = { kind: 'stopped' } as const;

/** Goes forward as far as possible. */
@Injectable()
export class Forward {
  constructor(
    private readonly calls: GroupCalls,
    private readonly rows: SagaRows,
    private readonly records: StepRecords,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {}

  async run(row: SagaRow, saga: Saga): Promise<RunEnd> {
    const data = new KnownData(saga, row.id, JSON.parse(row.input), JSON.parse(row.results ?? '{}'));
    const run: Run = { row, saga, data, isMarked: false };
    for (let step = row.step; step < saga.groups.length; step++) {
      const [first] = saga.groups[step]!;
      const isJoined = this.isJoined(run, step);
      let end: GroupEnd;
      if (first?.kind === 'wait') end = await this.wait(run, step, first);
      else if (first?.kind === 'pivot') end = await this.pivot(run, step, { entry: first, isJoined });
      else end = await this.together(run, step, isJoined);
      if (end) return end;
    }
    return { kind: 'completed', row: run.row, isMarked: run.isMarked };
  }

  /** Whether the last step commits together with the final mark: it is one, and lives in this process. */
  private isJoined({ saga }: Run, step: number): boolean {
    const group = saga.groups[step]!;
    const [entry] = group;
    return (
      step === saga.groups.length - 1 && group.length === 1 && entry!.kind !== 'wait' && this.calls.canJoin(entry!)
    );
  }

  /** The steps of one group. */
  private async together(run: Run, step: number, isJoined: boolean): Promise<GroupEnd> {
    const { row, data } = run;
    const isForward = row.direction !== null;
    if (!isForward && this.rows.untilDeadlineMs(row) <= 0) return back(TIMEOUT, step);
    const settled = isForward && !row.isFirstRun ? await this.records.settled(row.id, 'done') : new Set<string>();
    const open = callsIn(run.saga.groups[step]!).filter((entry) => !this.isKnown(run, entry, settled));
    const answers = await this.do(run, open, isJoined);
    if (!Array.isArray(answers)) return this.unmade(run, step, answers.error);
    for (const { verdict, entry, result } of answers) if (verdict === 'ok') data.set(nameOf(entry), result);
    const refusal = answers.find(({ verdict }) => verdict === 'refused');
    if (refusal && !isForward) return back(refusal.reason ?? FAILED, step);
    const failure = failureOf(answers);
    if (!failure) return undefined;
    await this.record(run, answers);
    if (!isForward) return this.beforePivot(run, step, failure);
    if (row.step !== step || row.direction === 'PIVOT') await this.rows.saveProgress(row, step, data);
    return { ...failure, isAnew: row.step !== step };
  }

  /** A step that an operator has settled has no result, and is not called again. */
  private isKnown({ data }: Run, entry: CallEntry, settled: ReadonlySet<string>): boolean {
    if (settled.has(nameOf(entry)) && !data.has(nameOf(entry))) data.set(nameOf(entry), undefined);
    return settled.has(nameOf(entry));
  }

  /** Step 3: the mark, the call, and the fence if the call has no answer in time. */
  private async pivot(
    run: Run,
    step: number,
    { entry, isJoined }: { entry: CallEntry; isJoined: boolean },
  ): Promise<GroupEnd> {
    const isFresh = run.row.direction === null;
    if (isFresh) {
      const marked = await this.rows.markPivot(run.row, step, run.data);
      // After the deadline the row is still ours. Otherwise a cancel or another process was first.
      if (!marked) return (await this.rows.isOurs(run.row)) ? back(TIMEOUT, step) : STOPPED;
      run.row = marked;
    }
    const answers = await this.do(run, [entry], isJoined);
    if (!Array.isArray(answers)) return { kind: 'failed', error: answers.error, isAnew: isFresh };
    const [answer] = answers as [Answered];
    if (answer.verdict === 'ok') return this.crossed(run, answer);
    if (answer.verdict === 'refused') return back(answer.reason ?? FAILED, step);
    // Another process has fenced it, and may have died since.
    if (answer.verdict === 'late') return back(TIMEOUT, step);
    await this.record(run, answers);
    const failure = failureOf(answers)!;
    const isUsedUp = failure.kind === 'failed' && run.row.attempts + 1 >= this.options.attemptsMax;
    if (failure.kind !== 'fatal' && (isUsedUp || this.rows.untilDeadlineMs(run.row) <= 0))
      return this.fence(run, step, entry);
    return { ...failure, isAnew: isFresh };
  }

  /** Takes the pivot's place. Whether that succeeds decides, and not the time: the pivot may have committed unseen. */
  private async fence(run: Run, step: number, entry: CallEntry): Promise<GroupEnd> {
    // guard: saga.fence
    const answer = await this.calls.fence(run.row, entry);
    if (answer.verdict === 'ok' && answer.isDone) return this.crossed(run, answer);
    if (answer.verdict === 'ok') return back(TIMEOUT, step);
    await this.record(run, [answer]);
    return { ...failureOf([answer])!, isAnew: false };
  }

  private crossed(run: Run, { entry, result }: Answered): undefined {
    run.data.set(nameOf(entry), result);
  }

  private async wait(run: Run, step: number, entry: WaitEntry): Promise<GroupEnd> {
    // Taken by an earlier run, which has ended before the refusal was decided.
    if (run.data.has(nameOf(entry))) return this.judge(run, step, entry);
    const result = await this.rows.wait(run.row, entry, step, run.data);
    if (result === 'overdue') return back(TIMEOUT, step);
    if (result !== 'taken') return STOPPED;
    const fresh = await this.rows.read(run.row);
    if (!fresh) return STOPPED;
    run.row = fresh;
    return this.judge(run, step, entry);
  }

  private judge(run: Run, step: number, { signal, refusal }: WaitEntry): Promise<GroupEnd> | GroupEnd {
    try {
      const reason = refusal?.(run.data.signal(signal) as never);
      return reason ? back(reason, step) : undefined;
    } catch (error) {
      return this.unmade(run, step, textOf(error));
    }
  }

  /** The calls of a group. A definition that throws, and a lost claim, end the run. */
  private async do(
    run: Run,
    entries: readonly CallEntry[],
    isJoined: boolean,
  ): Promise<Answered[] | { readonly error: string }> {
    try {
      const mark = isJoined ? this.rows.finalMark(run.row) : undefined;
      const answers = await this.calls.doAll(run.row, entries, run.data, mark);
      run.isMarked = isJoined && answers.some(({ verdict }) => verdict === 'ok');
      return answers;
    } catch (error) {
      if (error instanceof ClaimLost || isUnavailable(error)) throw error;
      return { error: textOf(error) };
    }
  }

  /** The arguments could not be made. */
  private unmade(run: Run, step: number, error: string): Promise<GroupEnd> | GroupEnd {
    if (run.row.direction === null) return this.beforePivot(run, step, { kind: 'failed', error });
    return { kind: 'failed', error, isAnew: false };
  }

  /** Before the pivot nothing is parked: a saga that cannot go on turns back. */
  private beforePivot(
    run: Run,
    step: number,
    { kind, error }: { readonly kind: 'failed' | 'away' | 'fatal'; readonly error: string },
  ): GroupEnd {
    if (this.rows.untilDeadlineMs(run.row) <= 0) return back(TIMEOUT, step);
    const isUsedUp = kind === 'failed' && run.row.attempts + 1 >= this.options.attemptsMax;
    if (kind === 'fatal' || isUsedUp) return back(FAILED, step);
    return { kind, error, isAnew: false };
  }

  private record({ row }: Run, answers: readonly Answered[]): Promise<void> {
    const calls = answers.map((one) => ({
      step: nameOf(one.entry),
      error: one.verdict === 'ok' ? null : one.error,
      isCounted: isCounted(one),
    }));
    return this.records.record(row.id, 'done', calls);
  }
}

function back(reason: string, through: number): RunEnd {
  return { kind: 'compensate', reason, through };
}

function callsIn(group: readonly SagaEntry[]): CallEntry[] {
  return group.filter((entry): entry is CallEntry => entry.kind !== 'wait');
}
