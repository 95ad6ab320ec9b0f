// Steps 2 to 3 of 5 - forward: Do step by step, the pivot, and the steps after it. Data decides where a saga goes on, and
// no code is replayed. If the process dies, another one calls the steps again, and each answers with its kept result.
import { Inject, Injectable } from '@nestjs/common';
import { textOf } from '../core/errors/errors.js';
import { type Answered, GroupCalls, type Prepared } from './group-calls.js';
import { KnownData } from './known-data.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import { failureOf, isCounted } from './round-result.js';
import { type CallEntry, nameOf, pivotGroupOf, type Saga, type SagaEntry, type WaitEntry } from './saga-entries.js';
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
 * - `away`, `failed`, `fatal`: not now. `attempts`: the counted failures before this one, at the place where the saga is.
 */
export type RunEnd =
  | { readonly kind: 'completed'; readonly row: SagaRow; readonly isMarked: boolean }
  | { readonly kind: 'compensate'; readonly reason: string; readonly through: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'away' | 'failed' | 'fatal'; readonly error: string; readonly attempts: number };

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
    if (row.reason) {
      const end = await this.pivotByHand(run);
      if (end) return end;
    }
    // An operator has settled them, a pivot for example.
    if (row.direction === 'FORWARD') data.fill(saga.groups.slice(0, row.step).flat().map(nameOf));
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
    const answers = await this.do(run, this.calls.prepare(open, data), isJoined);
    for (const { verdict, entry, result } of answers) if (verdict === 'ok') data.set(nameOf(entry), result);
    const refusal = answers.find(({ verdict }) => verdict === 'refused');
    if (refusal && !isForward) return back(refusal.reason ?? FAILED, step);
    const failure = failureOf(answers);
    if (!failure) return undefined;
    // The results of siblings first. A step on record as done is not called again.
    if (isForward && !(await this.rows.saveProgress(row, step, data))) return STOPPED;
    await this.record(run, answers);
    if (!isForward) return this.beforePivot(run, step, failure);
    return { ...failure, attempts: row.step === step ? row.attempts : 0 };
  }

  /** Done in an earlier run of this group, or settled by an operator. Then it has no result. Neither is called again. */
  private isKnown({ data }: Run, entry: CallEntry, settled: ReadonlySet<string>): boolean {
    if (settled.has(nameOf(entry)) && !data.has(nameOf(entry))) data.set(nameOf(entry), undefined);
    return data.has(nameOf(entry));
  }

  /** Step 3: the mark, the call, and the fence if the call has no answer in time. */
  private async pivot(
    run: Run,
    step: number,
    { entry, isJoined }: { entry: CallEntry; isJoined: boolean },
  ): Promise<GroupEnd> {
    const prepared = this.calls.prepare([entry], run.data);
    if (run.row.direction === null) {
      // Nothing has happened that would have to be found out at the app of the pivot.
      const unmade = failureOf(prepared.unmade);
      if (unmade) return this.beforePivot(run, step, unmade);
      const marked = await this.rows.markPivot(run.row, step, run.data);
      // After the deadline the row is still ours. Otherwise a cancel or another process was first.
      if (!marked) return (await this.rows.isOurs(run.row)) ? back(TIMEOUT, step) : STOPPED;
      run.row = marked;
    }
    const answers = await this.do(run, prepared, isJoined);
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
    return { ...failure, attempts: run.row.attempts };
  }

  /** Takes the pivot's place. Whether that succeeds decides, and not the time: the pivot may have committed unseen. */
  private async fence(run: Run, step: number, entry: CallEntry): Promise<GroupEnd> {
    // guard: saga.fence
    const answer = await this.calls.fence(run.row, entry);
    if (answer.verdict === 'ok' && answer.isDone) return this.crossed(run, answer);
    if (answer.verdict === 'ok') return back(TIMEOUT, step);
    await this.record(run, [answer]);
    return { ...failureOf([answer])!, attempts: run.row.attempts };
  }

  /**
   * An operator has settled the pivot: `reject` leaves PIVOT with a reason, and `done` FORWARD with one. A late call could
   * still commit the pivot, so its place is taken first. A pivot that has committed is never compensated. If its app
   * cannot tell, and refuses each later call, the operator decides. If the process dies here, the app is asked again.
   */
  private async pivotByHand(run: Run): Promise<GroupEnd> {
    const { row, saga, data } = run;
    const step = pivotGroupOf(saga.groups)!;
    const entry = saga.groups[step]![0] as CallEntry;
    // guard: saga.fence-by-hand
    const answer = await this.calls.fence(row, entry);
    if (answer.verdict !== 'ok' && answer.verdict !== 'illegal') {
      await this.record(run, [answer]);
      return { ...failureOf([answer])!, attempts: row.attempts };
    }
    const isRejected = row.direction === 'PIVOT';
    if (isRejected && !answer.isDone) return back(row.reason!, step);
    data.set(nameOf(entry), answer.result);
    if (!(await this.rows.passPivot(row, step + 1, data))) return STOPPED;
    run.row = { ...row, direction: 'FORWARD', reason: null, step: step + 1 };
    return isRejected ? { kind: 'fatal', error: hasCommitted(entry), attempts: 0 } : undefined;
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

  private judge(run: Run, step: number, { signal, refusal }: WaitEntry): GroupEnd {
    try {
      const reason = refusal?.(run.data.signal(signal) as never);
      return reason ? back(reason, step) : undefined;
    } catch (error) {
      const failure = { kind: 'failed', error: textOf(error) } as const;
      return run.row.direction === null
        ? this.beforePivot(run, step, failure)
        : { ...failure, attempts: run.row.attempts };
    }
  }

  /** The calls of a group. @throws ClaimLost */
  private async do(run: Run, prepared: Prepared, isJoined: boolean): Promise<readonly Answered[]> {
    const mark = isJoined ? this.rows.finalMark(run.row) : undefined;
    const answers = await this.calls.doAll(run.row, prepared, mark);
    run.isMarked = isJoined && answers.some(({ verdict }) => verdict === 'ok');
    return answers;
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
    return { kind, error, attempts: run.row.attempts };
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

function hasCommitted(entry: CallEntry): string {
  return `cannot reject: pivot ${nameOf(entry)} has committed, nothing was undone; retry the saga, and it goes forward`;
}

function callsIn(group: readonly SagaEntry[]): CallEntry[] {
  return group.filter((entry): entry is CallEntry => entry.kind !== 'wait');
}
