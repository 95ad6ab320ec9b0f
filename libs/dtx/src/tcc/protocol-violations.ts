// Participant's side of steps 2 and 4: calls that violate the protocol. Refused, with one alert, and nothing is changed.
import { Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { textOf } from '../core/errors/errors.js';
import { libraryLogger } from '../core/library-logger.js';
import { markBroken } from './barrier.js';
import type { BranchKey } from './barrier-row-matching.js';
import { type Call, REASON_CHARS_MAX, type Verdict } from './call-messages.js';
import { SCHEME } from './failpoints.js';
import type { Participant } from './participant-contract.js';
import { UNKNOWN } from './tcc-tables.js';

/** A call at its participant. `isLocal`: from the coordinator of this process, which parks its row. */
export type Arrived = Call & { readonly isLocal?: boolean };

/**
 * Raises the alerts of violations. The transaction is a row of the initiator, so the alert of a remote call has a
 * subject of its own and closes when an operator acknowledges it. The alert of a local call is that of the row.
 */
@Injectable()
export class Violations {
  private readonly logger = libraryLogger('tcc participant');

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  /** Answers an illegal call. It raises one alert, even if it comes often. */
  refuse(call: Arrived, { name }: Participant, what: string): Promise<Verdict> {
    const initiator = call.initiator ?? 'the initiator';
    const lastError = `${what}: refused, nothing was changed; check the decision of ${initiator} on ${call.gid}`;
    return this.raise({ kind: 'illegal', step: `${what} at ${name}`, lastError }, call);
  }

  /**
   * Records a phase that has committed only a part of its business, perhaps with the barrier row. A second run would
   * repeat that part, and the answer ok would lose the rest. The alert names the committing statement. If the process
   * dies before this commits, the repeated call passes as done if its row exists.
   */
  recordBroken(call: Arrived, contract: Participant, { message }: Error): Promise<Verdict> {
    const step = `${call.phase} of branch ${call.branch} at ${contract.name}`;
    const remedy = 'later calls are refused; remove the statement that commits, then correct the business rows';
    this.logger.error(`${step} in ${call.gid} has committed only in part, ${remedy}: ${message}`);
    const phase = call.phase === 'try' ? 'try' : 'second';
    const keep = (sql: Sql) => markBroken(sql, keyOf(call, contract), phase);
    return this.raise({ kind: 'broken', step, lastError: `a part of it may be committed: ${message}` }, call, keep);
  }

  private async raise(
    { kind, step, lastError }: { kind: 'illegal' | 'broken'; step: string; lastError: string },
    { gid, isLocal = false }: Arrived,
    keep: (sql: Sql) => Promise<void> = async () => {},
  ): Promise<Verdict> {
    const about = { scheme: SCHEME, gid, step, lastError };
    const incident = isLocal
      ? { ...about, id: gid }
      : ({ ...about, id: `${gid}.${kind}`, closesBy: 'acknowledge' } as const);
    try {
      const isNew = await this.database.own.transaction(async (sql) => {
        await keep(sql);
        return this.alerts.raise(sql, incident);
      });
      if (isNew) this.alerts.announce(incident, 'REFUSED');
    } catch (error) {
      return { verdict: 'failed', reason: cut(`${step}; cannot raise an alert, retrying: ${textOf(error)}`) };
    }
    return { verdict: 'illegal', reason: cut(lastError) };
  }
}

/** The initiator rejects an answer with a longer reason. */
export function cut(reason: string): string {
  return reason.slice(0, REASON_CHARS_MAX);
}

export function keyOf(
  { gid, branch, initiator = UNKNOWN, incarnation = UNKNOWN }: Call,
  { name: participant }: Pick<Participant, 'name'>,
): BranchKey {
  // guard: tcc.key
  return { gid, branch, participant, initiator, incarnation };
}
