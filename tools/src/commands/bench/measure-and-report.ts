// Plays the parts of a bench, shows their figures and keeps them in the report.
import { formatTable } from '../../cli/table.js';
import type { Progress } from './bench-progress.js';
import { playRounds } from './bench-run.js';
import { FULL, PEERS_FULL, PEERS_QUICK, type Peer, peersPlan, QUICK, VARIANTS } from './cases.js';
import { playCounting } from './counting-pass.js';
import { figuresTable } from './figures-table.js';
import { PARTS, type Part } from './parts/index.js';
import type { PartOptions } from './parts/part.js';
import { versionsOfPeers } from './peers/peer-package.js';
import { addToReport, type BenchReport, circumstances, type Finding, loadNow, reportPath, textOf } from './report.js';
import { type Counted, summarize } from './summary.js';

export interface Measuring extends PartOptions {
  readonly progress: Progress;
  /** Into the repository. Otherwise the report stays in `.infra`. */
  readonly isWritten: boolean;
}

interface Measured {
  readonly report: BenchReport;
  readonly counted: Counted;
}

export async function measurePurchases({ stage, progress, quick, isWritten }: Measuring): Promise<Measured> {
  const loadBefore = loadNow();
  const samples = await playRounds(stage, quick ? QUICK : FULL, progress);
  const counted = await playCounting(stage, VARIANTS, progress);
  const figures = summarize(samples, counted);
  const now = circumstances({ ...(await stage.versions()), loadBefore });
  const path = reportPath(isWritten);
  progress.say(`\n${figuresTable(figures)}\n\n${loadLine(now.load)}; all figures: ${path}`);
  return { report: addToReport(path, { purchases: { circumstances: now, figures } }), counted };
}

/** @param counted counts of schemes from the same run, which then need no pass of their own */
export async function measurePeers(
  peers: readonly Peer[],
  { stage, progress, quick, isWritten }: Measuring,
  counted: Counted = new Map(),
): Promise<BenchReport> {
  const loadBefore = loadNow();
  const samples = await playRounds(stage, peersPlan(peers, quick ? PEERS_QUICK : PEERS_FULL), progress);
  const ofPeers = await playCounting(stage, peers, progress);
  const figures = summarize(samples, new Map([...counted, ...ofPeers]));
  const now = circumstances({ ...(await stage.versions()), loadBefore });
  const path = reportPath(isWritten);
  progress.say(`\n${figuresTable(figures)}\n\n${loadLine(now.load)}; all figures: ${path}`);
  return addToReport(path, { peers: { circumstances: now, versions: versionsOfPeers(), figures } });
}

/** Returns the report with the last part, or null without parts. */
export async function measureParts(parts: readonly Part[], measuring: Measuring): Promise<BenchReport | null> {
  const { stage, progress, isWritten } = measuring;
  let report: BenchReport | null = null;
  for (const part of parts) {
    const loadBefore = loadNow();
    const findings = await PARTS[part](measuring);
    const now = circumstances({ ...(await stage.versions()), loadBefore });
    progress.say(`\n${findingsTable(part, findings)}\n${loadLine(now.load)}\n`);
    report = addToReport(reportPath(isWritten), { parts: { [part]: { circumstances: now, findings } } });
  }
  return report;
}

const loadLine = (load: readonly number[]) =>
  `load of the machine before and after: ${load.map((one) => one.toFixed(1)).join(', ')}`;

const findingsTable = (part: Part, findings: readonly Finding[]) =>
  formatTable(
    [part, 'figure'],
    findings.map((one) => [one.what, textOf(one)]),
  );
