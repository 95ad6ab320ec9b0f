// For step 1, start: a first step of the starting app joins the commit of the start, which saves a transaction. If the
// process dies before that commit, neither exists.
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { isoTime } from '../core/durable/alerts.js';
import { GroupCalls } from './group-calls.js';
import { KnownData } from './known-data.js';
import { StepRuns } from './run-step.js';
import { nameOf, type Saga } from './saga-entries.js';
import type { SagaRow } from './saga-tables.js';
import { StepCalls } from './step-calls.js';

@Injectable()
export class FirstStep {
  constructor(
    private readonly calls: StepCalls,
    private readonly group: GroupCalls,
    private readonly runs: StepRuns,
  ) {}

  /**
   * Runs the first step in the transaction of the start, if it stands alone, may be undone and lives in this process.
   * Returns how the row changes.
   * @throws Rejected of the step
   */
  async runWithin(
    tx: EntityManager,
    guard: TransactionGuard,
    row: SagaRow,
    saga: Saga,
  ): Promise<Pick<SagaRow, 'step' | 'results'>> {
    const [entry, sibling] = saga.groups[0]!;
    const isAble = sibling === undefined && entry!.kind === 'compensable' && this.group.canJoin(entry!);
    if (entry!.kind === 'wait' || !isAble) return { step: row.step, results: row.results };
    const data = new KnownData(saga, row.id, JSON.parse(row.input));
    const args = this.group.argsOf(entry!, data);
    const { id: gid, incarnation } = row;
    const about = { gid, incarnation, saga: row.saga, kind: entry!.kind, phase: 'do', args } as const;
    const call = this.calls.callOf({ ...about, since: isoTime(row.reached_at)! });
    data.set(nameOf(entry!), await this.runs.doWithin(tx, guard, call, this.calls.localOf(entry!.step)!.step));
    return { step: 1, results: data.stored };
  }
}
