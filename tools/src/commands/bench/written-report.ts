// Writes the report into the repository: charts, and the rows of the tables of the pages. A table keeps its head, which is in the
// language of its page.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import { ROOT } from '../../infra-files.js';
import { CONCURRENCIES, isPeer, TABLE_CONCURRENCY, VARIANTS } from './cases.js';
import { digits } from './figures-table.js';
import { type BenchReport, type Circumstances, type PeersReport, textOf } from './report.js';
import type { Figures } from './summary.js';
import { barChart } from './svg-charts.js';

const PAGES = ['README.md', 'README.zh-CN.md', 'docs/bench.md', 'docs/bench.zh-CN.md'];

/** Returns the paths of the written files. */
export function writeToRepository(report: BenchReport): string[] {
  const tables = tablesOf(report);
  const pages = PAGES.filter((page) => {
    const before = readFileSync(join(ROOT, page), 'utf8');
    const after = withTables(before, tables, page);
    if (after !== before) writeFileSync(join(ROOT, page), after);
    return after !== before;
  });
  const charts = Object.entries(chartsOf(report.purchases?.figures ?? []));
  mkdirSync(join(ROOT, 'docs', 'bench'), { recursive: true });
  for (const [name, svg] of charts) writeFileSync(join(ROOT, 'docs', 'bench', `${name}.svg`), svg);
  return [...pages, ...charts.map(([name]) => `docs/bench/${name}.svg`)];
}

type Rows = Record<string, ReadonlyArray<readonly string[]>>;

/** Replaces the rows of each table between `<!-- bench:name -->` and `<!-- /bench:name -->`. Its two first lines stay. */
export function withTables(text: string, tables: Rows, page: string): string {
  return Object.entries(tables).reduce((changed, [name, rows]) => {
    const [begin, end] = [`<!-- bench:${name} -->\n`, `<!-- /bench:${name} -->`];
    const [from, to] = [changed.indexOf(begin), changed.indexOf(end)];
    if (from === -1 && to === -1) return changed; // not every page has every table
    const head = changed
      .slice(from + begin.length, to)
      .trimStart()
      .split('\n')
      .slice(0, 2);
    if (from === -1 || to < from || !head[1]?.startsWith('| ---'))
      throw new OperatorError(`${page}: between ${begin.trim()} and ${end} must be a table with its head`);
    const lines = [...head, ...rows.map((cells) => `| ${cells.join(' | ')} |`)];
    return `${changed.slice(0, from)}${begin}\n${lines.join('\n')}\n\n${changed.slice(to)}`;
  }, text);
}

function tablesOf({ purchases, peers, parts = {} }: BenchReport): Rows {
  const figures = purchases?.figures ?? [];
  const all = [
    ...(purchases ? [['purchases', purchases.circumstances] as const] : []),
    ...(peers ? [['peers', peers.circumstances] as const] : []),
    ...Object.entries(parts).map(([name, { circumstances }]) => [name, circumstances] as const),
  ];
  return {
    ...(purchases
      ? { summary: VARIANTS.map((variant) => summaryRow(figures, variant)), cases: figures.map(caseRow) }
      : {}),
    ...(peers ? { peers: peerRows(peers) } : {}),
    findings: Object.values(parts).flatMap(({ findings }) => findings.map((one) => [one.what, textOf(one)])),
    circumstances: all.map(([name, one]) => circumstancesRow(name, one)),
  };
}

const inTable = (figures: readonly Figures[], variant: string, notify: boolean) =>
  figures.find(
    ({ case: of }) =>
      of.variant === variant &&
      of.notify === notify &&
      of.concurrency === TABLE_CONCURRENCY &&
      of.skus === 'many' &&
      !of.isClassic,
  );

/** Without notification, and with it in brackets. */
function summaryRow(figures: readonly Figures[], variant: string): string[] {
  const [one, notifying] = [inTable(figures, variant, false), inTable(figures, variant, true)];
  const cell = (pick: (of: Figures) => number | null, count: number) => {
    const texts = [one, notifying].map((of) => (of ? digits(pick(of), count) : '-'));
    return notifying ? `${texts[0]} (${texts[1]})` : texts[0]!;
  };
  return [
    variant,
    cell((of) => of.settledPerSecond, 0),
    cell((of) => of.againstNaive ?? 1, 2),
    cell((of) => of.settledMs.p50, 0),
    cell((of) => of.settledMs.p99, 0),
    cell((of) => of.perPurchase.roundTrips, 1),
    cell((of) => of.perPurchase.statements, 1),
    cell((of) => of.perPurchase.commits, 1),
    cell((of) => of.perPurchase.messages, 1),
    cell(({ perPurchase: { cpuMs } }) => (cpuMs.apps ?? 0) + (cpuMs.databases ?? 0) + (cpuMs.broker ?? 0) || null, 1),
  ];
}

const timesOf = ({ p50, p95, p99 }: Figures['answerMs']) => [p50, p95, p99].map((ms) => ms.toFixed(0)).join(' / ');
const cpuOf = ({ perPurchase: { cpuMs } }: Figures) =>
  [cpuMs.apps, cpuMs.databases, cpuMs.broker].map((ms) => digits(ms, 1)).join(' + ');

function caseRow(of: Figures): string[] {
  return [
    of.name,
    of.settledPerSecond.toFixed(0),
    digits(of.againstNaive, 2),
    timesOf(of.answerMs),
    timesOf(of.settledMs),
    digits(of.perPurchase.fsyncs, 1),
    cpuOf(of),
    digits(of.cpuAgainstNaive, 2),
    digits(of.rssMiB, 0),
  ];
}

/** Peers and the schemes beside them, at one concurrency. */
export function peerRows({ figures, versions }: Pick<PeersReport, 'figures' | 'versions'>): string[][] {
  return figures.map((of) => {
    const { variant } = of.case;
    const { roundTrips, statements, commits, messages } = of.perPurchase;
    return [
      variant,
      isPeer(variant) ? versions[variant] : '-',
      of.settledPerSecond.toFixed(0),
      digits(of.againstNaive, 2),
      timesOf(of.answerMs),
      timesOf(of.settledMs),
      ...[roundTrips, statements, commits, messages].map((count) => digits(count, 1)),
      cpuOf(of),
    ];
  });
}

const circumstancesRow = (name: string, { at, cores, cpu, node, database, broker, load }: Circumstances): string[] => [
  name,
  at.slice(0, 16).replace('T', ' '),
  `${cores} x ${cpu}`,
  node,
  database,
  broker,
  load.map((one) => one.toFixed(1)).join(' / '),
];

function chartsOf(figures: readonly Figures[]): Record<string, string> {
  if (figures.length === 0) return {};
  const at = (variant: string, concurrency: number) =>
    figures.find(
      ({ case: of }) =>
        of.variant === variant && of.concurrency === concurrency && of.skus === 'many' && !of.notify && !of.isClassic,
    );
  const concurrencies = CONCURRENCIES.filter((concurrency) => at('naive', concurrency));
  const byScheme = (pick: (of: Figures) => number | null) =>
    VARIANTS.map((variant) => ({
      name: variant,
      values: concurrencies.map((concurrency) => {
        const of = at(variant, concurrency);
        return of ? pick(of) : null;
      }),
    }));
  const labels = concurrencies.map((concurrency) => `${concurrency} at once`);
  return {
    purchases: barChart({
      title: 'Purchases',
      unit: 'settled per second',
      labels,
      series: byScheme((of) => of.settledPerSecond),
    }),
    settled: barChart({
      title: 'Time to settled, p50',
      unit: 'ms',
      labels,
      series: byScheme((of) => of.settledMs.p50),
    }),
  };
}
