// Step 1 of 6 with a delay - the row joins the caller's transaction, and waits there until it is due. No process and no
// broker keeps it meanwhile. If the process dies after the commit, the scan of any instance sends it at its due time.
import type { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { delayedId } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import {
  type ContractName,
  checkedName,
  type Delay,
  type DelayOptions,
  type DueTime,
  dueTimeOf,
  NameTaken,
  type WhichMessage,
} from './delay.js';
import { DelayedRows } from './delayed-rows.js';
import { failpoints } from './failpoints.js';
import type { LocalMessageOptions } from './options.js';
import { OUTBOX, type OutboxRow } from './outbox-table.js';
import type { Relay } from './relay.js';
import { type CancelAnswer, notWithdrawn, Withdrawal } from './withdraw.js';

/** A checked message with a delay. */
interface Later {
  readonly row: OutboxRow;
  readonly due: DueTime;
  readonly name: string | undefined;
  readonly replace: boolean;
}

/** The delayed messages of this app. */
export class DelayedMessages {
  private readonly rows: DelayedRows;
  private readonly withdrawal: Withdrawal;

  constructor(
    { app, inbox }: Pick<CoreOptions, 'app' | 'inbox'>,
    private readonly database: Database,
    private readonly relay: Relay,
    private readonly options: LocalMessageOptions,
  ) {
    this.rows = new DelayedRows(database, inbox.retentionMs);
    this.withdrawal = new Withdrawal(app, database, this.rows);
  }

  /** @throws DtxError for a malformed delay or name */
  check(contract: ContractName & { readonly version: number }, row: OutboxRow, options: DelayOptions): Later {
    const due = this.dueTimeOf(options, `cannot append ${contract.name} v${contract.version}`);
    const { name, replace = false } = options;
    if (name !== undefined) checkedName(name, contract);
    return { row: { ...row, id: delayedId(this.database.nowMs()) }, due, name, replace };
  }

  /** @throws DtxError for a malformed delay */
  dueTimeOf(delay: Delay, about: string): DueTime {
    return dueTimeOf(delay, about, { delayMaxMs: this.options.delayMaxMs, nowMs: this.database.nowMs() });
  }

  /** @throws NameTaken */
  async append(guard: TransactionGuard, contract: ContractName, later: Later): Promise<string> {
    const { row, due, name } = later;
    if (name !== undefined) await this.takeName(guard, contract, { id: row.id, name, replace: later.replace });
    await failpoint(failpoints.appended, () => this.rows.insert(guard, row, due, name));
    guard.depend({
      afterCommit: async () => this.relay.dueIn(due.inMs),
      afterEarlyCommit: async () => {
        if (!(await this.rows.withdraw(row, name))) throw notWithdrawn(this.database, row.id);
      },
    });
    return row.id;
  }

  async cancel(guard: TransactionGuard, contract: ContractName, which: WhichMessage): Promise<CancelAnswer> {
    const cancelled = await this.withdrawal.cancel(guard, contract, which);
    if (cancelled === 'CANCELLED') guard.depend({ afterEarlyCommit: () => stays('cancel', contract) });
    return cancelled;
  }

  async reschedule(
    guard: TransactionGuard,
    contract: ContractName,
    which: WhichMessage,
    due: DueTime,
  ): Promise<boolean> {
    const isMoved = await this.rows.move(guard, contract, which, due);
    if (isMoved)
      guard.depend({
        afterCommit: async () => this.relay.dueIn(due.inMs),
        afterEarlyCommit: () => stays('reschedule', contract),
      });
    return isMoved;
  }

  /** The name of a message that has ended is free. @throws NameTaken */
  private async takeName(
    guard: TransactionGuard,
    contract: ContractName,
    { id, name, replace }: { id: string; name: string; replace: boolean },
  ): Promise<void> {
    if (await this.rows.takeName(guard, contract, name, id)) return;
    const there = await this.rows.find(guard, contract, { name });
    const isOpen = there !== null && OUTBOX.openStates.includes(there.state);
    const isReplaced = replace && isOpen && (await this.cancel(guard, contract, { id: there.id })) !== 'SENT';
    if (isOpen && !isReplaced) throw new NameTaken(contract.name, name, there.state);
    await this.rows.moveName(guard, contract, name, id);
  }
}

/** A statement of the caller committed the change early, and its call fails. */
async function stays(change: string, { name }: ContractName): Promise<never> {
  throw new OutcomeUnknown(`the ${change} of a message of ${name} was committed early and stays`);
}
