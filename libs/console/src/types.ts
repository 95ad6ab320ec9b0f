/** The answers of the operations API that the console reads. docs/operations.md describes them. */
export interface Transaction {
  id: string;
  gid: string | null;
  scheme: string;
  what: string;
  state: string;
  attempts: number;
  nextAttemptAt: string | null;
  lastError: string | null;
  createdAt: string;
}

/** One row with its timeline, as it is read by its id. */
export interface SingleRow extends Transaction {
  timeline: Array<{ at: string; event: string }>;
  details?: Record<string, unknown>;
}

/** The source of a row that was read by its id, where the table is not told. */
export const SINGLE = '';

export interface TracedRow extends SingleRow {
  source: string;
  message: { id: string; end: 'sender' | 'receiver'; consumers: string[]; awaiting: string[] } | null;
}

export interface Alert {
  id: string;
  scheme: string;
  subject: string;
  gid: string | null;
  step: string;
  lastError: string | null;
  retry: string | null;
  closesBy: 'retry' | 'acknowledge' | 'itself';
  openedAt: string;
  acknowledgedAt: string | null;
  closedAt: string | null;
}

export interface Trace {
  app: string;
  gid: string;
  at: string;
  rows: TracedRow[];
  alerts: Alert[];
  isComplete: boolean;
}

export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

export interface SummaryRow {
  scheme: string;
  source: string;
  states: Record<string, number>;
  parked: number;
  oldestDueMs: number | null;
  ageMs: number;
}

export interface Instance {
  host: string;
  pid: number;
  startedAt: string;
}

export interface MinuteOfScheme {
  started: number;
  settled: number;
  parked: number;
  retried: number;
  p50Ms: number | null;
  p95Ms: number | null;
}

export interface Minute {
  at: string;
  schemes: Record<string, MinuteOfScheme>;
}

export interface History {
  instance: Instance;
  minutes: Minute[];
}

export interface Topology {
  app: string;
  instance: Instance;
  versions: { library: string; node: string; database: string | null; broker: string | null };
  schemes: string[];
  queues: Array<{
    queue: string;
    isAttached: boolean;
    busy: number;
    prefetch: number;
    problem: string | null;
    messages: number | null;
    consumers: number | null;
  }>;
  connections: Array<{ name: string; isUp: boolean; isBlocked: boolean; node: string; problem: string | null }>;
  database: { isReady: boolean; problem: string | null };
  redis: { isUsed: boolean; isUp: boolean };
  apps: Array<{ name: string; url: string }>;
  options: Record<string, unknown>;
}
