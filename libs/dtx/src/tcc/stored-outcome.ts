// For callers and for step 4: reads dtx_tcc and its branches. The mark `done_at` only saves calls. If the process dies
// before it commits, the branch is called again, and its barrier answers.
import { Injectable } from '@nestjs/common';
import { acceptedBy } from '../core/broker/schema.js';
import { Database } from '../core/database/database.service.js';
import { isoTime } from '../core/durable/alerts.js';
import { SettledWaits } from '../core/durable/wait-until-settled.js';
import type { Participant } from './participant-contract.js';
import { BRANCH_READ, type Branch, storedBranch, type TccRow } from './tcc-tables.js';

/** The reason of a cancel without a refusal: a Try was not answered in time, or failed. */
export const TIMEOUT = 'TIMEOUT';
/** The reason of a cancel after a call that came too late. */
export const INCOMPLETE = 'INCOMPLETE';

/** The outcome of a transaction. */
export interface TccOutcome {
  readonly gid: string;
  /** PENDING: undecided or not known now, so ask again with the gid. The other two are final. */
  readonly status: 'CONFIRMED' | 'CANCELLED' | 'PENDING';
  /** The reason of a cancel. */
  readonly reason?: string;
  readonly decidedAt?: Date;
  /** Participants that have not applied the decision, as far as this process knows. Empty for a settled transaction. */
  readonly waitingFor: readonly string[];
}

/** The states of a decided transaction whose second phase runs. */
const IN_SECOND_PHASE: string[] = ['CONFIRMING', 'CANCELLING'];

/**
 * The identity of a transaction. A process that was suspended beyond the retention may resume when its gid is used
 * again.
 */
type Transaction = Pick<TccRow, 'id' | 'incarnation'>;

/** Reads transactions of this initiator, of any of its instances. */
@Injectable()
export class Outcomes {
  private readonly waits = new SettledWaits((ids) => this.inSecondPhase(ids));

  constructor(private readonly database: Database) {}

  /** @param incarnation if given, a transaction with another incarnation counts as missing */
  async find(gid: string, waitMs: number, incarnation?: string): Promise<TccOutcome | null> {
    let row = await this.read(gid, incarnation);
    // A parked transaction waits for an operator, so its reader does not.
    if (waitMs > 0 && row && IN_SECOND_PHASE.includes(row.state)) {
      await this.waits.wait(gid, waitMs);
      row = await this.read(gid, incarnation);
    }
    if (!row) return null;
    if (row.decision === null || isSettled(row)) return outcomeOf(row, []);
    return outcomeOf(row, namesOf(await this.openBranches(row)));
  }

  private async inSecondPhase(ids: readonly string[]): Promise<readonly string[]> {
    const rows: Array<{ id: string }> = await this.database.work.query(
      'SELECT id FROM dtx_tcc FORCE INDEX (PRIMARY) WHERE id IN (?) AND state IN (?)',
      [[...ids], IN_SECOND_PHASE],
    );
    return rows.map(({ id }) => id);
  }

  async read(gid: string, incarnation?: string): Promise<TccRow | null> {
    const [row]: TccRow[] = await this.database.work.query(
      `SELECT id, state, attempts, claim_token, incarnation, decision, reason, decided_at, traceparent
       FROM dtx_tcc WHERE id = ?`,
      [gid],
    );
    if (!row || (incarnation !== undefined && row.incarnation !== incarnation)) return null;
    return { ...row, attempts: Number(row.attempts) };
  }

  async argsOf<Args>(gid: string, { name, version, args }: Participant<Args>): Promise<Args | null> {
    const rows: Array<{ args: string }> = await this.database.work.query(
      'SELECT args FROM dtx_tcc_branch WHERE gid = ? AND participant = ? AND version = ? ORDER BY branch LIMIT 1',
      [gid, name, version],
    );
    const misfit = `stored arguments do not fit TCC participant ${name} v${version}`;
    return rows[0] ? acceptedBy(args, JSON.parse(rows[0].args), misfit) : null;
  }

  /** The branches without a record that they have applied the decision. */
  async openBranches({ id, incarnation }: Transaction): Promise<Branch[]> {
    const rows: Array<Parameters<typeof storedBranch>[0]> = await this.database.own.query(
      `SELECT ${BRANCH_READ} FROM dtx_tcc_branch AS b JOIN dtx_tcc AS t ON t.id = b.gid
       WHERE t.id = ? AND t.incarnation <=> ? AND b.done_at IS NULL ORDER BY b.branch`,
      [id, incarnation],
    );
    return rows.map(storedBranch);
  }

  /**
   * Records the branches that have applied the decision. Called only when others have failed. Recorded branches are not
   * called again, and an operator sees the missing ones.
   */
  async markDone({ id, incarnation }: Transaction, branches: readonly Branch[]): Promise<void> {
    if (branches.length === 0) return;
    await this.database.own.query(
      `UPDATE dtx_tcc_branch AS b JOIN dtx_tcc AS t ON t.id = b.gid SET b.done_at = UTC_TIMESTAMP(3)
       WHERE t.id = ? AND t.incarnation <=> ? AND b.branch IN (?)`,
      [id, incarnation, branches.map(({ branch }) => branch)],
    );
  }
}

const isSettled = ({ state }: TccRow) => state === 'CONFIRMED' || state === 'CANCELLED';

export const namesOf = (branches: readonly Branch[]): string[] => branches.map(({ participant }) => participant);

export function outcomeOf(row: TccRow, waitingFor: readonly string[]): TccOutcome {
  const { id: gid, decision, reason } = row;
  const at = isoTime(row.decided_at);
  if (decision === null || at === null) return { gid, status: 'PENDING', waitingFor: [] };
  const decidedAt = new Date(at);
  if (decision === 'CONFIRM') return { gid, status: 'CONFIRMED', decidedAt, waitingFor };
  return { gid, status: 'CANCELLED', reason: reason ?? TIMEOUT, decidedAt, waitingFor };
}
