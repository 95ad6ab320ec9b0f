/** The public surface of nest-dtx, by hand. */

export { ReliableMessageModule } from './confirmed-publish/confirmed-publish.module.js';
export type { ReliableMessageOptionsInput } from './confirmed-publish/options.js';
export { ReliableMessages } from './confirmed-publish/publish.js';
export { type Backoff, backoffMs } from './core/async/backoff.js';
export { Broker } from './core/broker/broker.service.js';
export { type Contract, defineMessage, type MessageOf, queueOf, receiptQueueOf } from './core/broker/contract.js';
export { QueueRefused } from './core/broker/refusal.js';
export type { DeliveryInfo } from './core/consumer/incoming-message.js';
export { connectDtx, DtxTransport } from './core/consumer/nest-transport.js';
export { BeforeAck, MessageContext, OnMessage, OnRejected } from './core/consumer/on-message.js';
export { Database } from './core/database/database.service.js';
export {
  IdempotencyKeyBusy,
  IdempotencyKeyReused,
  IdempotencyKeys,
  type KeyClaim,
  type KeyOwner,
} from './core/database/idempotency-keys.js';
export { insertFirst, NOW } from './core/database/insert-first.js';
export { hasColumn, type Migration, migrate, type Once } from './core/database/migrate.js';
export { pinSessions } from './core/database/session.js';
export { outsideTransaction } from './core/database/stray-guard.js';
export { inTransaction, requireTransaction } from './core/database/transaction.js';
export { limitWaits, type WaitLimits } from './core/database/user-pool.js';
export { DtxModule } from './core/dtx.module.js';
export { Alerts, type AlertView, type Incident } from './core/durable/alerts.js';
export {
  type ListPage,
  Operations,
  type OperationsSource,
  type SummaryRow,
  type TransactionView,
  type Word,
} from './core/durable/operations.js';
export {
  BrokerUnavailable,
  DatabaseUnavailable,
  DtxError,
  isBrokerAway,
  OptionsError,
  OutcomeUnknown,
  Rejected,
  TookTooLong,
  TransactionEnded,
  TransactionRequired,
  Unavailable,
  Unconfirmed,
} from './core/errors/errors.js';
export { isDeadlock, isDuplicateKey, isLockWait, isOutcomeUnknown, isUnavailable } from './core/errors/sql-errors.js';
export { allFailpoints, type Failpoint } from './core/failpoint.js';
export { assertGid, idTimeMs, newId } from './core/ids.js';
export type { CoreOptionsInput } from './core/options.js';
export {
  databaseAddress,
  parseServerUrl,
  problemOfServerUrl,
  type ServerKind,
  type ServerUrl,
} from './core/server-url.js';
export { measure, onMeasured, type Telemetry } from './core/telemetry.js';
export { currentGid, currentTraceparent, traceparentFrom, withGid, withTraceparent } from './core/trace.js';
export { HalfMessageModule } from './half-message/half-message.module.js';
export type { HalfMessageOptionsInput } from './half-message/options.js';
export { HalfMessages, RuledBack } from './half-message/prepare.js';
export { LocalMessageModule } from './local-message/local-message.module.js';
export type { LocalMessageOptionsInput } from './local-message/options.js';
export { LocalMessages } from './local-message/outbox.js';
export { type Inquiries, Inquiry } from './notify/inquiry.js';
export { NotifyModule } from './notify/notify.module.js';
export type { NotifyOptionsInput } from './notify/options.js';
export { type Notification, Notifications } from './notify/publish.js';
export { SignatureInvalid, verifySignature } from './notify/signature.js';
export { isAllowEntry } from './notify/ssrf-guard.js';
export { OpsModule } from './ops/ops.module.js';
export type { OpsOptionsInput } from './ops/options.js';
export { Readiness } from './ops/readiness.js';
export type { TccCalls } from './tcc/branches.js';
export { type ArgsOf, defineParticipant, type Participant } from './tcc/contract.js';
export { Cancel, Confirm, Confirmed, type TccBranch, TccParticipant, Try } from './tcc/decorators.js';
export type { TccOptionsInput } from './tcc/options.js';
export type { TccOutcome } from './tcc/outcome.js';
export { TccModule } from './tcc/tcc.module.js';
export { Tcc, type TccRun } from './tcc/transaction.js';
export type { BranchDatabase } from './xa/branch-database.js';
export { XaUnavailable } from './xa/errors.js';
export type { XaOptionsInput } from './xa/options.js';
export { Xa, type XaRun } from './xa/transaction.js';
export { XaModule } from './xa/xa.module.js';
export { FORMAT_ID as XA_FORMAT_ID, parseGtrid as parseXaGtrid } from './xa/xid.js';
