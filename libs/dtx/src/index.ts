/** The public surface of nest-dtx, by hand. */
export { Alerts, type AlertView, type Incident } from './core/alert/alerts.js';
export { type Backoff, backoffMs } from './core/backoff.js';
export { Broker } from './core/broker/broker.service.js';
export { type Contract, defineMessage, type MessageOf, queueOf, receiptQueueOf } from './core/broker/contract.js';
export { BeforeAck, MessageContext, OnMessage, OnRejected } from './core/broker/on-message.js';
export { QueueRefused } from './core/broker/refusal.js';
export { connectDtx, DtxTransport } from './core/broker/transport.js';
export { Database } from './core/database/database.service.js';
export { insertFirst, NOW } from './core/database/insert-first.js';
export { hasColumn, type Migration, migrate, type Once } from './core/database/schema.js';
export { pinSessions } from './core/database/session.js';
export { isDeadlock, isDuplicateKey, isLockWait, isOutcomeUnknown, isUnavailable } from './core/database/sql-errors.js';
export { outsideTransaction } from './core/database/stray.js';
export { inTransaction, requireTransaction } from './core/database/transaction.js';
export { limitWaits, type WaitLimits } from './core/database/user-pool.js';
export { DtxModule } from './core/dtx.module.js';
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
} from './core/errors.js';
export { allFailpoints, type Failpoint } from './core/failpoint.js';
export { assertGid, idTimeMs, newId } from './core/gid.js';
export {
  IdempotencyKeyBusy,
  IdempotencyKeyReused,
  IdempotencyKeys,
  type KeyClaim,
  type KeyOwner,
} from './core/idempotency/keys.js';
export type { DeliveryInfo } from './core/inbox/incoming.js';
export {
  type ListPage,
  Operations,
  type OperationsSource,
  type SummaryRow,
  type TransactionView,
  type Word,
} from './core/operations.js';
export type { CoreOptionsInput } from './core/options.js';
export { measure, onMeasured, type Telemetry } from './core/telemetry.js';
export { currentGid, currentTraceparent, traceparentFrom, withGid, withTraceparent } from './core/trace.js';
export { databaseAddress, parseServerUrl, problemOfServerUrl, type ServerKind, type ServerUrl } from './core/url.js';
export { HalfMessageModule } from './half-message/half-message.module.js';
export type { HalfMessageOptionsInput } from './half-message/options.js';
export { HalfMessages, RuledBack } from './half-message/prepare.js';
export { LocalMessageModule } from './local-message/local-message.module.js';
export type { LocalMessageOptionsInput } from './local-message/options.js';
export { LocalMessages } from './local-message/outbox.js';
export { isAllowEntry } from './notify/guard.js';
export { type Inquiries, Inquiry } from './notify/inquiry.js';
export { NotifyModule } from './notify/notify.module.js';
export type { NotifyOptionsInput } from './notify/options.js';
export { type Notification, Notifications } from './notify/publish.js';
export { SignatureInvalid, verifySignature } from './notify/signature.js';
export { OpsModule } from './ops/ops.module.js';
export type { OpsOptionsInput } from './ops/options.js';
export { Readiness } from './ops/readiness.js';
export type { ReliableMessageOptionsInput } from './reliable-message/options.js';
export { ReliableMessages } from './reliable-message/publish.js';
export { ReliableMessageModule } from './reliable-message/reliable-message.module.js';
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
