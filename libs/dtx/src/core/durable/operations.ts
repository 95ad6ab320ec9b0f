import { Injectable } from '@nestjs/common';
import type { Sql } from '../database/sql.js';

/** One entry of `/dtx/transactions`. Times are ISO 8601 in UTC. */
export interface TransactionView {
  readonly id: string;
  readonly gid: string | null;
  readonly scheme: string;
  /** What it is, in words: `invoice.issued v1 to mail.send-invoice`. */
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

export interface ListQuery {
  readonly scheme?: string | undefined;
  readonly state?: string | undefined;
  readonly limit: number;
  /** Only what sorts below this id: ids are made in the order of time. */
  readonly before?: string | undefined;
}

/** A stretch of a list. */
export interface ListPage {
  readonly items: TransactionView[];
  /** What sorts below this id was not looked at, since a list reads only so far at once; null: all was looked at. */
  readonly through: string | null;
}

/** Who says so, and why, as far as they said it: for the record. */
export interface Word {
  readonly by?: string | undefined;
  readonly note?: string | undefined;
}

export interface SummaryRow {
  readonly scheme: string;
  readonly source: string;
  readonly states: Record<string, number>;
  readonly parked: number;
  /** Age of the oldest row that is due, in milliseconds; null when nothing is due. */
  readonly oldestDueMs: number | null;
}

/** What became of a person's word about one transaction. */
export type Resolution = 'done' | 'unknown-id' | 'not-possible';

/** What a scheme, or the inbox, lets a person see and do. */
export interface OperationsSource {
  /** Newest first. */
  list(query: ListQuery): Promise<ListPage>;
  get(id: string): Promise<(TransactionView & { timeline: TimelineEntry[] }) | null>;
  /** Makes it due now, with its attempts counted anew; only what is open. */
  retry(id: string, word: Word): Promise<Resolution>;
  /** The same for all that match; returns how many. */
  retryAll(query: { scheme: string; state: string }, word: Word): Promise<number>;
  resolve(id: string, outcome: 'done' | 'reject', word: Word & { note: string }): Promise<Resolution>;
  /** Counts by `sql`, which may end a count that takes too long. */
  summary(sql: Sql): Promise<SummaryRow[]>;
}

/** Everything that `/dtx` can reach; each source registers itself at start. */
@Injectable()
export class Operations {
  readonly sources: OperationsSource[] = [];

  register(source: OperationsSource): void {
    this.sources.push(source);
  }
}
