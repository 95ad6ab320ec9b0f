// The app of a step: calls that violate the protocol. Refused, with one alert, and nothing is changed.
import { Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { textOf } from '../core/errors/errors.js';
import { libraryLogger } from '../core/library-logger.js';
import { markBroken, type StepKey } from './barrier.js';
import { type Call, cut, type Verdict } from './call-messages.js';
import { SCHEME } from './scheme-name.js';
import type { StepContract } from './step-contract.js';

/** A call at its app. `isLocal`: from the saga of this process, which parks its row. */
export type Arrived = Call & { readonly isLocal?: boolean };

/**
 * Raises the alerts of violations. The saga is a row of the initiator, so the alert of a remote call has a subject of its
 * own and closes when an operator acknowledges it. A local call that parks its saga has the alert of the row.
 */
@Injectable()
export class StepViolations {
  private readonly logger = libraryLogger('saga step');

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  /** Answers an illegal call. It raises one alert, even if it comes often. */
  refuse(call: Arrived, { name }: StepContract, what: string): Promise<Verdict> {
    const lastError = `${what}: refused, nothing was changed; check saga ${call.gid} of ${call.initiator}`;
    return this.raise({ kind: 'illegal', step: `${call.phase} of ${name}`, lastError }, call);
  }

  /**
   * Records a phase that has committed only a part of its business, perhaps with the barrier row. A second run would
   * repeat that part, and the answer ok would lose the rest. If the process dies before this commits, the repeated call
   * passes as done if its row exists.
   */
  recordBroken(call: Arrived, contract: StepContract, { message }: Error): Promise<Verdict> {
    const step = `${call.phase} of ${contract.name}`;
    const remedy = 'later calls are refused; remove the statement that commits, then correct the business rows';
    this.logger.error(`${step} in ${call.gid} has committed only in part, ${remedy}: ${message}`);
    const phase = call.phase === 'undo' ? 'undo' : 'do';
    const keep = (sql: Sql) => markBroken(sql, keyOf(call, contract), phase);
    return this.raise({ kind: 'broken', step, lastError: `a part of it may be committed: ${message}` }, call, keep);
  }

  private async raise(
    { kind, step, lastError }: { kind: 'illegal' | 'broken'; step: string; lastError: string },
    call: Arrived,
    keep: (sql: Sql) => Promise<void> = async () => {},
  ): Promise<Verdict> {
    const { gid } = call;
    const about = { scheme: SCHEME, gid, step, lastError };
    const incident = { ...about, id: `${gid}.${kind}`, closesBy: 'acknowledge' } as const;
    try {
      const isNew = await this.database.own.transaction(async (sql) => {
        await keep(sql);
        return !isParked(call) && this.alerts.raise(sql, incident);
      });
      if (isNew) this.alerts.announce(incident, 'REFUSED');
    } catch (error) {
      return { verdict: 'failed', reason: cut(`${step}; cannot raise an alert, retrying: ${textOf(error)}`) };
    }
    return { verdict: 'illegal', reason: cut(lastError) };
  }
}

/** Whether the saga of this process parks its row after an illegal call. Before the pivot it compensates instead. */
function isParked({ isLocal = false, phase, kind }: Arrived): boolean {
  return isLocal && (phase !== 'do' || kind === 'pivot' || kind === 'retriable');
}

export function keyOf({ gid, initiator, incarnation }: Call, { name: step }: Pick<StepContract, 'name'>): StepKey {
  return { gid, initiator, incarnation, step };
}
