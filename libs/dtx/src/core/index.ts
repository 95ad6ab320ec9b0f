/** The public surface of the core: module, contracts, handlers, errors, transactions, operations. */
export { type Backoff, backoffMs } from './async/backoff.js';
export { Broker as DtxBroker } from './broker/broker.service.js';
export {
  type Contract as DtxContract,
  defineMessage,
  type MessageOf,
  queueOf,
  receiptQueueOf,
} from './broker/message-contract.js';
export type { MessageOrder, OnParked } from './broker/ordered-messages.js';
export type { ExchangeRoute } from './broker/publish-target.js';
export { QueueRefused } from './broker/refusal.js';
export type { StandardIssue, StandardResult, StandardSchema } from './broker/schema.js';
export { parseBrokerUrls, problemOfBrokerUrls } from './broker-urls.js';
export {
  BeforeAck,
  type HandlerOptions,
  MessageContext,
  OnMessage,
  OnRejected,
} from './consumer/consumer-decorators.js';
export type { DeliveryInfo } from './consumer/incoming-message.js';
export { connectDtx, DtxTransport } from './consumer/nest-transport.js';
export { changesOneRow } from './database/changes-one-row.js';
export { NOW as DTX_NOW } from './database/clock-sql.js';
export { Database as DtxDatabase } from './database/database.service.js';
export { deferStatement } from './database/defer-statement.js';
export {
  IdempotencyKeyBusy,
  IdempotencyKeyReused,
  IdempotencyKeys,
  type KeyClaim,
  type KeyOwner,
} from './database/idempotency-keys.js';
export { insertFirst } from './database/insert-first.js';
export { inTransaction, requireTransaction } from './database/join-or-run-transaction.js';
export {
  hasColumn,
  type Migration as DtxMigration,
  migrate as migrateDtx,
  type Once,
  widenIndexOnce,
} from './database/migrate.js';
export { pinSessions } from './database/pin-user-sessions.js';
export { outsideTransaction } from './database/stray-statement-guard.js';
export { type SharedTransactionOptions, SharedTransactions } from './database/transactions-of-callers.js';
export { limitWaits, type WaitLimits } from './database/user-pool-wait-limits.js';
export * from './deprecated-names.js';
export { DtxModule, type DtxModuleExtras } from './dtx.module.js';
export { Alerts, type AlertView, type Incident } from './durable/alerts.js';
export { type BackgroundSummary, type BackgroundTask, BackgroundWork } from './durable/background-work.js';
export {
  type ListPage,
  Operations as DtxOperations,
  type OperationsSource,
  type SingleView,
  type SummaryRow,
  type TransactionView,
  type Word,
} from './durable/operations-registry.js';
export {
  BrokerUnavailable,
  DatabaseUnavailable,
  DtxError,
  isBrokerAway,
  isBrokerUnavailable,
  OptionsError,
  OutcomeUnknown,
  Rejected,
  TookTooLong,
  TransactionEnded,
  TransactionRequired,
  Unavailable,
  Unconfirmed,
} from './errors/errors.js';
export { isDeadlock, isDuplicateKey, isLockWait, isOutcomeUnknown, isUnavailable } from './errors/sql-errors.js';
export { allFailpoints, type Failpoint } from './failpoint.js';
export { assertGid, idTimeMs, newId } from './ids.js';
export type { AsyncModuleOptions, ModuleScope } from './module-options.js';
export type { CoreOptionsInput } from './options.js';
export { databaseAddress, parseServerUrl, problemOfServerUrl, type ServerKind, type ServerUrl } from './server-url.js';
export { emit as emitTelemetry, onMeasured, type Telemetry } from './telemetry-events.js';
export { currentGid, currentTraceparent, traceparentFrom, withGid, withTraceparent } from './trace-and-gid-context.js';
export { type Step, type StepTracer, traceSteps } from './traced-steps.js';
