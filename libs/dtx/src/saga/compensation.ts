// Step 4 of 5 - compensation: Undo of every step that may have run, from the last group to the first. If the process dies,
// another one goes on. A step that is undone answers as a repeat, and a step that has never run records that it never will.
import { Injectable } from '@nestjs/common';
import { failpoint } from '../core/failpoint.js';
import { failpoints } from './failpoints.js';
import type { RunEnd } from './forward.js';
import { type Answered, GroupCalls } from './group-calls.js';
import { failureOf, isCounted } from './round-result.js';
import { compensableOf, lastUndoable, nameOf, type Saga } from './saga-entries.js';
import { SagaRows } from './saga-rows.js';
import type { SagaRow } from './saga-tables.js';
import { StepRecords } from './step-records.js';

/** Undoes the groups in reverse order, the steps of a group together. */
@Injectable()
export class Compensation {
  constructor(
    private readonly calls: GroupCalls,
    private readonly rows: SagaRows,
    private readonly records: StepRecords,
  ) {}

  /** A step that cannot be undone holds up those before it, which it may depend on, and not its siblings. */
  async run(row: SagaRow, saga: Saga): Promise<RunEnd> {
    const last = Math.min(row.step, lastUndoable(saga.groups));
    const undone = row.isFirstRun ? new Set<string>() : await this.records.settled(row.id, 'undone');
    let isFirst = true;
    // guard: saga.undo-order
    for (let step = last; step >= 0; step--) {
      const open = compensableOf(saga.groups[step]!).filter((entry) => !undone.has(nameOf(entry)));
      const answers = await this.calls.undoAll(row, open);
      if (isFirst && answers.some(({ verdict }) => verdict === 'ok')) {
        isFirst = false;
        await failpoint(failpoints.firstUndone, async () => {});
      }
      const failure = failureOf(answers);
      if (!failure) continue;
      await this.record(row, answers);
      if (step !== row.step) await this.rows.saveProgress(row, step, null);
      return { ...failure, attempts: step === last ? row.attempts : 0 };
    }
    await failpoint(failpoints.allUndone, async () => {});
    return { kind: 'completed', row, isMarked: false };
  }

  private record({ id }: SagaRow, answers: readonly Answered[]): Promise<void> {
    const calls = answers.map((one) => ({
      step: nameOf(one.entry),
      error: one.verdict === 'ok' ? null : one.error,
      isCounted: isCounted(one),
    }));
    return this.records.record(id, 'undone', calls);
  }
}
