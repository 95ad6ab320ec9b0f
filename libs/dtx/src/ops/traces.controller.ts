import { ForbiddenException, Get, Inject, Injectable, NotFoundException, Param } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { Alerts, type AlertView } from '../core/durable/alerts.js';
import { Operations, type StoredPayload, type TracedRow } from '../core/durable/operations-registry.js';
import { TRACED_ROWS_MAX } from '../core/durable/row-views.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { maskedPayload } from './masked-payload.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';
import { check, idParam } from './request-schemas.js';
import { firstForOperator, rowsOf } from './row-of-an-id.js';
import { Topology, type TopologyView } from './topology.js';

/** The part of a global transaction that this app knows, by its rows. */
export interface TraceView {
  readonly app: string;
  readonly gid: string;
  /** The time of the database, to which the times of the rows belong. */
  readonly at: string;
  /** Oldest first. */
  readonly rows: readonly TracedRow[];
  readonly alerts: readonly AlertView[];
  /** False if the transaction has more rows than are shown. */
  readonly isComplete: boolean;
}

/** The business data of a row. `text` is JSON with secret fields hidden, or null if there is none or it is too large. */
export interface PayloadView {
  readonly id: string;
  readonly bytes: number;
  readonly text: string | null;
}

/** `/dtx/traces`, `/dtx/topology` and payloads: reads for a view of one transaction and of this instance. */
@Injectable()
export class TracesController {
  constructor(
    private readonly operations: Operations,
    private readonly alerts: Alerts,
    private readonly database: Database,
    private readonly topologyOf: Topology,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {}

  /** A gid that this app does not know is not an error, since a transaction need not reach each app. */
  @Get('traces/:gid')
  async trace(@Param('gid') given: unknown): Promise<TraceView> {
    const gid = check(idParam, given, 'gid');
    const { reads } = this.database;
    const tables = await Promise.all(this.operations.traces.map((reader) => reader.read(reads, gid)));
    const alerts = await this.alerts.ofGid(reads, gid, TRACED_ROWS_MAX + 1);
    const rows = tables.flatMap((table) => table.slice(0, TRACED_ROWS_MAX));
    rows.sort((one, other) => one.createdAt.localeCompare(other.createdAt));
    return {
      app: this.core.app,
      gid,
      at: new Date(this.database.nowMs()).toISOString(),
      rows,
      alerts: alerts.slice(0, TRACED_ROWS_MAX),
      isComplete: [...tables, alerts].every(({ length }) => length <= TRACED_ROWS_MAX),
    };
  }

  @Get('transactions/:id/payload')
  async payload(@Param('id') given: unknown): Promise<PayloadView> {
    const id = check(idParam, given, 'id');
    const { payloads, maskedFields } = this.options;
    if (payloads === 'hidden')
      throw new ForbiddenException("business data is hidden; set payloads: 'masked' of OpsModule to show it");
    const stored = await this.stored(id);
    if (!stored) throw new NotFoundException(`no business data of transaction ${id}; another app may have it`);
    return { id, bytes: stored.bytes, text: stored.text === null ? null : maskedPayload(stored.text, maskedFields) };
  }

  /** Callers choose ids. So the business data is that of the row that is shown, or of another table of its scheme. */
  private async stored(id: string): Promise<StoredPayload | undefined> {
    const rows = await rowsOf(this.operations.sources, id);
    const first = await firstForOperator(rows);
    const ofScheme = rows.filter(({ view }) => view.scheme === first?.view.scheme);
    ofScheme.sort((a, b) => Number(b === first) - Number(a === first));
    const found = await Promise.all(ofScheme.map(({ source }) => source.payload?.(id)));
    return found.find((one) => one?.text != null) ?? found.find((one) => one != null) ?? undefined;
  }

  @Get('topology')
  topology(): Promise<TopologyView> {
    return this.topologyOf.view();
  }
}
