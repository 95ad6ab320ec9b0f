// The shapes of the audit: what each check gets, and what it returns.
import type { Databases } from '../sandbox/database-reader.js';
import type { ParkedRow } from './durable-rows.js';
import type { HeldByTcc } from './held-by-parked-tcc.js';
import type { PurchaseSummary } from './purchase-comparison.js';
import type { QueueState } from './queue-states.js';

/** What a look at a sandbox at rest has found. */
export interface Quiet {
  /** What never came to rest. Empty if the sandbox is quiet. */
  readonly unsettled: readonly string[];
  readonly waitedMs: number;
  /** Null if the queues could not be read. */
  readonly queues: readonly QueueState[] | null;
  readonly parked: readonly ParkedRow[];
}

export interface AuditContext extends Quiet {
  readonly databases: Databases;
  readonly purchases: PurchaseSummary;
  /** A fingerprint of the orders before the checks began. */
  readonly ordersBefore: string;
  readonly held: HeldByTcc;
}

export type Figures = Record<string, number | bigint | string>;

export interface CheckResult {
  readonly figures: Figures;
  readonly violations: readonly string[];
}

/** Returns null if the sandbox has none of what the check looks at. */
export type Check = (context: AuditContext) => Promise<CheckResult | null>;

export interface AuditCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly figures: Record<string, number | string>;
  readonly violations: string[];
  /** What an operator does about the violations. */
  readonly todo?: string;
}

export interface AuditReport {
  readonly ok: boolean;
  /** There was no purchase and no message to check, so `ok` is false without a violation. */
  readonly nothing: boolean;
  /** The name of the sandbox. */
  readonly sandbox: string;
  readonly parked: readonly ParkedRow[];
  readonly checks: readonly AuditCheck[];
}
