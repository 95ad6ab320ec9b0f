// Step 1 of 5 - begin: it writes nothing durable (presumed abort). If the process dies, the servers roll back.
import { Inject, Injectable } from '@nestjs/common';
import { newId } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { type Participant, XaBranch } from './branch.js';
import type { Limits } from './branch-connection.js';
import { Decisions } from './decision-log-entries.js';
import { DecisionLog } from './decision-log-trust.js';
import { LastResource } from './last-resource.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { SecondPhase } from './second-phase.js';
import { WorkOrder } from './work-order.js';
import type { XaRow } from './xa-tables.js';
import { type Gtrid, gtridOf, parseGtrid } from './xid.js';

/** A transaction before its decision. */
export interface Begun {
  readonly row: XaRow;
  readonly gtrid: Gtrid;
  readonly last: LastResource;
  readonly branches: readonly XaBranch[];
  readonly participants: readonly Participant[];
  readonly order: WorkOrder;
}

interface ToBegin {
  readonly gid: string;
  /** The work runs again after `ChangeMissed`. */
  readonly runsAgain: boolean;
}

/** Begins transactions: the last resource reads the time, the xid carries it, and every branch begins with its witness. */
@Injectable()
export class BeginTransaction {
  constructor(
    private readonly resources: ResourceManagers,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly secondPhase: SecondPhase,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  /** @throws XaUnavailable, after which nothing has begun */
  async begin(names: readonly string[], { gid, runsAgain }: ToBegin): Promise<Begun> {
    const { acquireTimeoutMs: withinMs, timeoutMs } = this.options;
    const order = new WorkOrder();
    const how = { withinMs, limitMs: timeoutMs, runsAgain, order };
    const resources = await this.resources.require(names, withinMs);
    const last = await this.beginLast(how);
    const id = newId(Number(last.place.ms));
    const gtrid = gtridOf(last.place.log_id, id, timeoutMs);
    const started = await Promise.allSettled(
      resources.map(({ name, work }) => XaBranch.start(name, work, { gtrid, ...how })),
    );
    const branches = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = started.find((one) => one.status === 'rejected');
    if (failed) {
      await Promise.all([last, ...branches].map((one) => one.rollBack()));
      throw failed.reason;
    }
    const row = {
      id,
      gid,
      gtrid,
      branches: branches.map(({ name }) => name).join(','),
      before_done: this.secondPhase.hasBeforeDone ? 1 : 0,
      decision: 'COMMIT',
      state: 'COMMITTING',
      attempts: 0,
      claim_token: this.decisions.token,
    } as const;
    return { row, gtrid: parseGtrid(gtrid)!, last, branches, participants: [last, ...branches], order };
  }

  /** @throws XaUnavailable when the session is in another log than was opened */
  private async beginLast(how: Limits & { runsAgain: boolean; order: WorkOrder }): Promise<LastResource> {
    const { placeSql } = this.log;
    const last = await LastResource.start(this.core.app, this.resources.lastResource, { placeSql, ...how });
    try {
      this.log.confirm(last.place);
      return last;
    } catch (error) {
      await last.rollBack();
      throw error;
    }
  }
}
