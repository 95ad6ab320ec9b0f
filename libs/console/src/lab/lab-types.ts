/** The answers of the lab. `tools/src/commands/lab` makes them. */
export interface Job {
  id: number;
  kind: 'purchase' | 'comparison' | 'break' | 'scenario' | 'audit' | 'park';
  subject: string;
  state: 'running' | 'done' | 'failed';
  gid: string | null;
  lines: string[];
  progress: { done: number; total: number } | null;
  result: unknown;
  problem: string | null;
}

export interface Happening {
  kind: 'died' | 'started' | 'ready' | 'hit' | 'second' | 'second-stopped';
  app: string;
  pid: number;
  at: number;
  how?: string;
}

export interface LabApp {
  name: string;
  url: string | null;
  state: 'starting' | 'up' | 'dead' | 'stopped' | null;
  pids: number[];
}

export interface LabStatus {
  isServing: boolean;
  whyNoBreaks: string | null;
  lines: string[];
  apps: LabApp[];
  happenings: Happening[];
  job: Job | null;
}

export interface Point {
  name: string;
  step: number;
  role: string;
  app: string;
  disk: string;
  finisher: string;
  because: string | null;
}

export interface LabSchemes {
  schemes: Array<{ scheme: string; points: Point[] }>;
  /** Schemes that a purchase can go through. */
  purchases: string[];
}

export interface Compared {
  scheme: string;
  orderId: string;
  status: string;
  reason: string;
  ms: number;
  commits: number;
  messages: number;
}

export interface ScenarioResult {
  rows: Array<{
    orderId: string;
    scheme: string;
    buyerId: string;
    sku: string;
    quantity: number;
    status: string;
    reason: string;
    ms: number;
    asExpected: boolean;
  }>;
  asExpected: boolean;
}

export interface AuditReport {
  ok: boolean;
  nothing: boolean;
  parked: Array<{ app: string; id: string; error: string }>;
  checks: Array<{ name: string; ok: boolean; figures: Record<string, number | string>; violations: string[] }>;
}
