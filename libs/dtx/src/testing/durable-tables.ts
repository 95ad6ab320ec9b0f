/** A descriptor of every durable table, for tests and tools that read the tables. */
import { INBOX } from '../core/consumer/inbox-table.js';
import { ALERTS } from '../core/durable/alert-and-operation-tables.js';
import type { DurableTable } from '../core/durable/durable-table.js';
import { HALF, HALF_PARKED } from '../half-message/half-message-tables.js';
import { KEYED } from '../local-message/order/keyed-table.js';
import { OUTBOX } from '../local-message/outbox-table.js';
import { NOTIFICATIONS } from '../notify/notification-table.js';
import { SAGA } from '../saga/saga-tables.js';
import { TCC } from '../tcc/tcc-tables.js';
import { XA } from '../xa/xa-tables.js';

/**
 * The descriptors of all durable tables of the library, independent of the schemes that an app uses.
 * @example
 *   durableTables.map(({ name }) => name); // ['dtx_inbox', 'dtx_outbox', ...]
 */
export const durableTables: readonly DurableTable[] = [
  INBOX,
  OUTBOX,
  KEYED,
  HALF,
  HALF_PARKED,
  TCC,
  SAGA,
  XA,
  NOTIFICATIONS,
  ALERTS,
];

/**
 * The names of all tables of the library, for a program that reads them beside the apps. With the default `tablePrefix`.
 * @example
 *   await dataSource.query(`SELECT COUNT(*) AS open FROM ${tableNames.outbox} WHERE state = 'PENDING'`);
 */
export const tableNames = {
  alert: ALERTS.name,
  half: HALF.name,
  halfParked: HALF_PARKED.name,
  idempotency: 'dtx_idempotency',
  inbox: INBOX.name,
  keyed: KEYED.name,
  keyedSeq: 'dtx_keyed_seq',
  notification: NOTIFICATIONS.name,
  operation: 'dtx_operation',
  outbox: OUTBOX.name,
  saga: SAGA.name,
  sagaBarrier: 'dtx_saga_barrier',
  sagaDefinition: 'dtx_saga_definition',
  sagaSignal: 'dtx_saga_signal',
  sagaStep: 'dtx_saga_step',
  tcc: TCC.name,
  tccBarrier: 'dtx_tcc_barrier',
  tccBranch: 'dtx_tcc_branch',
  xa: XA.name,
  xaLog: 'dtx_xa_log',
  xaWitness: 'dtx_xa_witness',
} as const;
