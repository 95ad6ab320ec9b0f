// For callers: reads dtx_saga. Nothing here is durable. A reader whose process dies asks again.
import { Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { isoTime } from '../core/durable/alerts.js';
import { SettledWaits } from '../core/durable/wait-until-settled.js';

/** The outcome of a saga. */
export interface SagaOutcome {
  readonly gid: string;
  /** PENDING: not over. The other two are final: every step is done, or every step is undone. */
  readonly status: 'COMPLETED' | 'COMPENSATED' | 'PENDING';
  /** Whether the saga only goes back from now on. */
  readonly isCompensating: boolean;
  /** Whether the saga waits for a signal. */
  readonly isWaiting: boolean;
  /** Why it is compensated: the reason of a refusal or a cancel, TIMEOUT, FAILED or OPERATOR. */
  readonly reason?: string;
  /** Time of the decision to compensate, or of the arrival at the pivot. */
  readonly decidedAt?: Date;
}

/** The states in which a saga goes on by itself. */
const GOING_ON: string[] = ['RUNNING', 'PIVOT', 'FORWARD', 'COMPENSATING'];

/** Reads sagas of this initiator, of any of its instances. */
@Injectable()
export class StoredSagas {
  private readonly waits = new SettledWaits((ids) => this.goingOn(ids));
  /** Sagas that this process runs now, so they are not over. */
  private readonly running = new Set<string>();

  constructor(private readonly database: Database) {}

  /** Waits up to `waitMs` for the end. A parked saga waits for an operator, so its reader does not. */
  async find(gid: string, waitMs: number): Promise<SagaOutcome | null> {
    const isRunningHere = waitMs > 0 && this.running.has(gid);
    if (!isRunningHere) {
      const found = await this.read(gid);
      if (found?.status !== 'PENDING' || waitMs <= 0) return found;
    }
    await this.waits.wait(gid, waitMs);
    return this.read(gid);
  }

  /** Notes that this process runs the saga, until `run` ends. */
  async whileRunning<T>(gid: string, run: () => Promise<T>): Promise<T> {
    this.running.add(gid);
    try {
      return await run();
    } finally {
      this.running.delete(gid);
    }
  }

  /** This process has ended the saga, so its readers here need not look. */
  over(gid: string): void {
    this.waits.wake(gid);
  }

  private async read(gid: string): Promise<SagaOutcome | null> {
    const [row] = await this.database.work.query(
      'SELECT state, direction, reason, waiting_since, decided_at FROM dtx_saga WHERE id = ?',
      [gid],
    );
    if (!row) return null;
    const isOver = row.state === 'COMPLETED' || row.state === 'COMPENSATED';
    const at = isoTime(row.decided_at);
    return {
      gid,
      status: isOver ? (String(row.state) as 'COMPLETED' | 'COMPENSATED') : 'PENDING',
      isCompensating: row.direction === 'COMPENSATING' && !isOver,
      isWaiting: row.waiting_since !== null,
      ...(row.reason !== null && { reason: String(row.reason) }),
      ...(at !== null && { decidedAt: new Date(at) }),
    };
  }

  private async goingOn(ids: readonly string[]): Promise<readonly string[]> {
    const rows: Array<{ id: string }> = await this.database.work.query(
      'SELECT id FROM dtx_saga FORCE INDEX (PRIMARY) WHERE id IN (?) AND state IN (?) AND waiting_since IS NULL',
      [[...ids], GOING_ON],
    );
    return rows.map(({ id }) => id);
  }
}
