/**
 * The contract between the tables and the operator API `/dtx`: views, queries and actions. Each table registers a
 * source at start.
 */
import { Injectable } from '@nestjs/common';
import type { Sql } from '../database/sql-executor.js';
import { DtxError } from '../errors/errors.js';
import type { MessageEnd } from './durable-table.js';

/** One entry of `/dtx/transactions`. Times are ISO 8601 in UTC. */
export interface TransactionView {
  readonly id: string;
  readonly gid: string | null;
  readonly scheme: string;
  /** A description, such as `invoice.issued v1 to mail.send-invoice`. */
  readonly what: string;
  readonly state: string;
  readonly attempts: number;
  readonly nextAttemptAt: string | null;
  readonly lastError: string | null;
  readonly createdAt: string;
}

export interface TimelineEntry {
  readonly at: string;
  readonly event: string;
}

/** The answer of `/dtx/transactions/:id`. */
export interface SingleView extends TransactionView {
  readonly timeline: TimelineEntry[];
  /** Data of the scheme (see `ShownTable.details`). */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A row of a global transaction, as `GET /dtx/traces/{gid}` shows it. */
export interface TracedRow extends SingleView {
  /** The table, by its name in the code. */
  readonly source: string;
  /** The message that the row sends or has received. */
  readonly message: MessageEnd | null;
}

/** Reads the rows of one table that belong to a global transaction. */
export interface TraceReader {
  readonly source: string;
  read(sql: Sql, gid: string): Promise<TracedRow[]>;
}

/** The business data of a row, as stored. `text` is null if there is none, or if it is too large to show. */
export interface StoredPayload {
  readonly bytes: number;
  readonly text: string | null;
}

export interface ListQuery {
  readonly scheme?: string | undefined;
  readonly state?: string | undefined;
  readonly limit: number;
  /** Lists only entries that sort below this id. Ids are ordered by time. */
  readonly before?: string | undefined;
}

/** One page of a list. */
export interface ListPage {
  readonly items: TransactionView[];
  /**
   * Entries below this id were not searched, because one call reads a limited stretch. Null: the search is complete.
   */
  readonly through: string | null;
}

/** The entries of a retry of all. */
export interface BulkQuery {
  readonly scheme: string;
  readonly state: string;
}

export interface RetriedBatch {
  readonly retried: number;
  /** The next batch begins below this id. Null: no entry is left. */
  readonly through: string | null;
}

/** The operator of an action and the reason, if given. For the record in `dtx_operation`. */
export interface OperatorNote {
  readonly by?: string | undefined;
  readonly note?: string | undefined;
}

/** @deprecated the old name of `OperatorNote` */
export type Word = OperatorNote;

/** The open rows of one scheme in one table, counted by state. */
export interface SummaryRow {
  readonly scheme: string;
  readonly source: string;
  readonly states: Record<string, number>;
  readonly parked: number;
  /** The age of the oldest due row in milliseconds. Null if no row is due. */
  readonly oldestDueMs: number | null;
}

/** The result of an operator action on one transaction. */
export type Resolution = 'done' | 'unknown-id' | 'not-possible';

/**
 * The resolution needs a handler that this instance has not mounted. Nothing happened. Another instance may have the
 * handler, for example during a rolling deployment.
 */
export class NoHandlerHere extends DtxError {
  constructor(handler: string) {
    super(`this instance has no handler of ${handler}; call an instance that serves it`);
  }
}

/** The view and the actions of one table for operators. */
export interface OperationsSource {
  /** Lists entries, newest first. */
  list(query: ListQuery): Promise<ListPage>;
  get(id: string): Promise<SingleView | null>;
  /** The business data of a row. Null for an unknown id and for a table without such data. */
  payload?(id: string): Promise<StoredPayload | null>;
  /** Makes an open entry due now and resets its attempts. */
  retry(id: string, operator: OperatorNote): Promise<Resolution>;
  /** The number of entries that a retry of all would retry now. */
  count(query: BulkQuery): Promise<number>;
  /** Retries the next matching entries in one transaction. Entries that others have locked are left out. */
  retryNext(query: BulkQuery & { before?: string | undefined }, operator: OperatorNote): Promise<RetriedBatch>;
  /** Moves the due time of an entry with a delay that was never in work. Sources without delays lack it. */
  reschedule?(id: string, dueInMs: number, operator: OperatorNote): Promise<Resolution>;
  /** @throws NoHandlerHere if only another instance can run the handler of a rejection */
  resolve(id: string, outcome: 'done' | 'reject', operator: OperatorNote & { note: string }): Promise<Resolution>;
  /** Counts through `sql`, which may end a slow count. */
  summary(sql: Sql): Promise<SummaryRow[]>;
}

/**
 * The sources of `/dtx`. Each registers itself at start.
 * @example
 *   onModuleInit() {
 *     this.operations.register(this.refundsSource);
 *   }
 */
@Injectable()
export class Operations {
  readonly sources: OperationsSource[] = [];
  readonly traces: TraceReader[] = [];
  /** The checked options of each module, by the name of the module. They contain secrets. */
  readonly options = new Map<string, unknown[]>();

  /** Adds a table to `/dtx`. Call it in `onModuleInit`. */
  register(source: OperationsSource): void {
    this.sources.push(source);
  }

  /** Adds a table to the traces of `/dtx`. */
  registerTrace(reader: TraceReader): void {
    this.traces.push(reader);
  }

  /** Adds the options of a module to the topology of `/dtx`, which shows them without secrets. */
  registerOptions(module: string, options: unknown): void {
    this.options.set(module, [...(this.options.get(module) ?? []), options]);
  }
}
