// For callers: reads dtx_saga. Nothing here is durable. A reader whose process dies asks again.
import { Injectable } from '@nestjs/common';
import { withTimeout } from '../core/async/with-timeout.js';
import { Database } from '../core/database/database.service.js';
import { isoTime } from '../core/durable/alerts.js';
import { SettledWaits } from '../core/durable/wait-until-settled.js';
import type { SagaRow } from './saga-tables.js';

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
  private readonly running = new Map<string, RunHere>();

  constructor(private readonly database: Database) {}

  /** Waits up to `waitMs` for the end. A parked saga waits for an operator, so its reader does not. */
  async find(gid: string, waitMs: number): Promise<SagaOutcome | null> {
    const endsAt = performance.now() + waitMs;
    const run = waitMs > 0 && this.running.get(gid);
    const told = run && (await withTimeout(waitMs, run.end, () => undefined));
    if (told) return told;
    const found = await this.read(gid);
    const leftMs = endsAt - performance.now();
    if (found?.status !== 'PENDING' || leftMs <= 0) return found;
    await this.waits.wait(gid, leftMs);
    return this.read(gid);
  }

  /** Notes that this process runs the saga, until `run` ends. */
  async whileRunning<T>(gid: string, run: () => Promise<T>): Promise<T> {
    const here = this.running.get(gid) ?? new RunHere();
    this.running.set(gid, here);
    here.runs += 1;
    try {
      return await run();
    } finally {
      here.runs -= 1;
      if (here.runs === 0) this.running.delete(gid);
      if (here.runs === 0) here.over(undefined);
    }
  }

  /** This process has written the final mark, so its readers here need not look. */
  over(row: SagaRow): void {
    const status = row.direction === 'COMPENSATING' ? 'COMPENSATED' : 'COMPLETED';
    this.running.get(row.id)?.over(outcomeOf({ ...row, state: status }));
    this.waits.wake(row.id);
  }

  /** The saga waits for an operator, so its readers here do not. */
  parked(gid: string): void {
    this.waits.wake(gid);
  }

  private async read(gid: string): Promise<SagaOutcome | null> {
    const [row] = await this.database.work.query(
      'SELECT state, direction, reason, waiting_since, decided_at FROM dtx_saga WHERE id = ?',
      [gid],
    );
    return row ? outcomeOf({ ...(row as unknown as Told), id: gid }) : null;
  }

  private async goingOn(ids: readonly string[]): Promise<readonly string[]> {
    const rows: Array<{ id: string }> = await this.database.work.query(
      'SELECT id FROM dtx_saga FORCE INDEX (PRIMARY) WHERE id IN (?) AND state IN (?) AND waiting_since IS NULL',
      [[...ids], GOING_ON],
    );
    return rows.map(({ id }) => id);
  }
}

/** A run in this process. Its readers learn the end from it, without a look at the database. */
class RunHere {
  /** A run that has lost its claim may still wait for an answer while another one begins. */
  runs = 0;
  over: (outcome: SagaOutcome | undefined) => void = () => {};
  /** The outcome after the final mark. Undefined if the run has ended otherwise. */
  readonly end = new Promise<SagaOutcome | undefined>((resolve) => {
    this.over = resolve;
  });
}

type Told = Pick<SagaRow, 'id' | 'state' | 'direction' | 'reason' | 'waiting_since' | 'decided_at'>;

function outcomeOf({ id: gid, state, direction, reason, waiting_since, decided_at }: Told): SagaOutcome {
  const isOver = state === 'COMPLETED' || state === 'COMPENSATED';
  const at = isoTime(decided_at);
  return {
    gid,
    status: isOver ? state : 'PENDING',
    isCompensating: direction === 'COMPENSATING' && !isOver,
    isWaiting: waiting_since !== null,
    ...(reason !== null && direction === 'COMPENSATING' && { reason }),
    ...(at !== null && { decidedAt: new Date(at) }),
  };
}
