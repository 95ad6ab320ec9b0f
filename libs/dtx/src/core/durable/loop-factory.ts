import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import { Alerts } from './alerts.js';
import { BackgroundWork } from './background-work.js';
import { DurableLoop } from './durable-loop.js';
import type { DurableRow } from './durable-table.js';
import type { DurableWork } from './durable-work.js';
import { Operations } from './operations-registry.js';
import { traceReaderOf } from './row-views.js';
import { TableOperations } from './table-operations.js';

/** Creates the loop of a durable table, and registers it with the background work and the operations of `/dtx`. */
@Injectable()
export class DurableLoops {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly operations: Operations,
    private readonly background: BackgroundWork,
  ) {}

  create<Row extends DurableRow>(work: DurableWork<Row>): DurableLoop<Row> {
    const { database, alerts } = this;
    const loop = new DurableLoop<Row>(work, database, alerts, this.background.isContinuous);
    const isReady = () => loop.isReady;
    this.background.register({
      name: work.table.name,
      phase: 'scan',
      isReady,
      runOnce: (until) => loop.runOnce(until),
    });
    const { shown } = work.table;
    const wake = () => loop.wake();
    if (shown) {
      this.operations.register(new TableOperations({ ...work, shown, wake }, database, alerts));
      this.operations.registerTrace(traceReaderOf({ ...work.table, shown }));
    }
    return loop;
  }
}
