// The file of a bench: figures of all parts, each with the machine and the load that it was measured at.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { makePrivateDir, placeOf, ROOT, readJson } from '../../infra-files.js';
import type { Peer } from './cases.js';
import type { Figures } from './summary.js';

/** One figure of a part beside the purchases. */
export interface Finding {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
}

/** The figure with its unit. */
export const textOf = ({ value, unit }: Finding): string =>
  `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${unit}`;

export interface Circumstances {
  /** When the measurement ended, in ISO 8601. */
  readonly at: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly database: string;
  readonly broker: string;
  /** Load average of one minute, before and after. A quiet machine has less than its cores before. */
  readonly load: readonly [number, number];
}

/** Peers beside the schemes that they are compared with, in rounds of their own. */
export interface PeersReport {
  readonly circumstances: Circumstances;
  readonly versions: Readonly<Record<Peer, string>>;
  readonly figures: readonly Figures[];
}

export interface BenchReport {
  readonly purchases?: { readonly circumstances: Circumstances; readonly figures: readonly Figures[] };
  readonly peers?: PeersReport;
  readonly parts?: Record<string, { readonly circumstances: Circumstances; readonly findings: readonly Finding[] }>;
}

export const loadNow = (): number => loadavg()[0]!;

export function circumstances({
  database,
  broker,
  loadBefore,
}: {
  database: string;
  broker: string;
  loadBefore: number;
}): Circumstances {
  const [first] = cpus();
  return {
    at: new Date().toISOString(),
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    database,
    broker,
    load: [loadBefore, loadNow()],
  };
}

/** `docs/bench/bench.json` belongs to the repository, the other one to this checkout alone. */
export const reportPath = (isWritten: boolean): string =>
  isWritten ? join(ROOT, 'docs', 'bench', 'bench.json') : join(makePrivateDir(placeOf('bench')), 'bench.json');

/** Adds new figures to the report. Parts that were measured earlier stay. */
export function addToReport(path: string, measured: BenchReport): BenchReport {
  const before = readJson<BenchReport>(path) ?? {};
  const report = { ...before, ...measured, parts: { ...before.parts, ...measured.parts } };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
  return report;
}
