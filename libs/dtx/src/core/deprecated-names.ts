/** Names of the core from before each one had a prefix. They collide with names of an application. */
import { Broker as DtxBroker } from './broker/broker.service.js';
import type { Contract as DtxContract } from './broker/message-contract.js';
import { NOW as DTX_NOW } from './database/clock-sql.js';
import { Database as DtxDatabase } from './database/database.service.js';
import { type Migration as DtxMigration, migrate as migrateDtx } from './database/migrate.js';
import { Operations as DtxOperations } from './durable/operations-registry.js';
import { emit as emitTelemetry } from './telemetry-events.js';

/** @deprecated Use `DtxDatabase`. Removed in 1.0. */
export const Database = DtxDatabase;
/** @deprecated Use `DtxDatabase`. Removed in 1.0. */
export type Database = DtxDatabase;
/** @deprecated Use `DtxBroker`. Removed in 1.0. */
export const Broker = DtxBroker;
/** @deprecated Use `DtxBroker`. Removed in 1.0. */
export type Broker = DtxBroker;
/** @deprecated Use `DtxOperations`. Removed in 1.0. */
export const Operations = DtxOperations;
/** @deprecated Use `DtxOperations`. Removed in 1.0. */
export type Operations = DtxOperations;
/** @deprecated Use `DtxContract`. Removed in 1.0. */
export type Contract<P = unknown> = DtxContract<P>;
/** @deprecated Use `DtxMigration`. Removed in 1.0. */
export type Migration = DtxMigration;
/** @deprecated Use `migrateDtx`. Removed in 1.0. */
export const migrate = migrateDtx;
/** @deprecated Use `DTX_NOW`. Removed in 1.0. */
export const NOW = DTX_NOW;
/** @deprecated Use `emitTelemetry`. Removed in 1.0. */
export const emit = emitTelemetry;
/** @deprecated Use `emitTelemetry`. Removed in 1.0. */
export const measure = emitTelemetry;
