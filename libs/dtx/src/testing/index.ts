/**
 * For tests: fakes without servers, the call of a handler with its inbox, and a wait until all rows are final. Loads no
 * test runner, so it works with vitest, jest and others. For tools: the failpoints and the durable tables.
 */
export type { DurableTable, MessageEnd, ShownTable } from '../core/durable/durable-table.js';
export type { TracedRow } from '../core/durable/operations-registry.js';
export { allFailpoints, type Failpoint } from '../core/failpoint.js';
export { type Delivered, type DeliverOptions, deliver } from './deliver.js';
export { durableTables, tableNames } from './durable-tables.js';
export { type FakeDtx, fakeDtx } from './fake-dtx.js';
export { FakeLocalMessages } from './fake-local-messages.js';
export { FakeConfirmedMessages, FakeHalfMessages } from './fake-messages.js';
export { FakeNotifications, type FakeNotificationsOptions } from './fake-notifications.js';
export type { FakeOptions } from './fake-options.js';
export { FakeSagas, type SagaStub } from './fake-sagas.js';
export { FakeSharedTransactions } from './fake-shared-transactions.js';
export { FakeTcc } from './fake-tcc.js';
export type { TccStub } from './fake-tcc-participants.js';
export { FakeDataSource, fakeTransaction } from './fake-transaction.js';
export { type CommittedXa, FakeXa, type FakeXaOptions } from './fake-xa.js';
export { readTrace, type TraceConnection } from './read-trace.js';
export type { FakeScheduled } from './recorded-messages.js';
export { type UntilSettledOptions, untilSettled } from './until-settled.js';
