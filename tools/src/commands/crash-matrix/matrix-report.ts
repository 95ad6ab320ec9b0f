// The matrix as a table on the screen, as a page, and as the tables of docs/proof.md.
import { formatTable } from '../../cli/table.js';
import { failedOf, type MatrixCase, type MatrixRow, type MatrixRun, MODES, rowsOf } from './cases.js';
import { countIn } from './merged-run.js';

const HEADS = Object.values(MODES);
const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
const placeOf = ({ app, when }: MatrixRow) => (when ? `${app}, ${when}` : app);

export function tableOf(run: MatrixRun): string {
  const cell = (one: MatrixCase | undefined) => (one ? (one.isPassed ? seconds(one.ms) : 'FAILED') : '');
  const rows = rowsOf(run.cases).map((row) => [row.scheme, row.failpoint, placeOf(row), ...row.cells.map(cell)]);
  return formatTable(['scheme', 'failpoint', 'app', ...HEADS], rows);
}

export function summaryOf(run: MatrixRun): string {
  const failed = failedOf(run).length;
  return `${run.cases.length} cases on ${run.database} and ${run.broker}: ${failed === 0 ? 'all hold' : `${failed} FAILED`}`;
}

/** A page without any other file. */
export function pageOf(run: MatrixRun): string {
  const cell = (one: MatrixCase | undefined) => {
    if (!one) return '<td></td>';
    if (one.isPassed) return `<td class="ok">${seconds(one.ms)}</td>`;
    return `<td class="failed" title="${escaped(one.error ?? '')}">failed</td>`;
  };
  const rows = rowsOf(run.cases).map(
    (row) =>
      `<tr><td>${row.scheme}</td><td>${row.failpoint}</td><td>${escaped(placeOf(row))}</td>${row.cells.map(cell).join('')}</tr>`,
  );
  const heads = ['scheme', 'failpoint', 'app', ...HEADS].map((head) => `<th>${head}</th>`).join('');
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Crash matrix of nest-dtx</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 2rem; } table { border-collapse: collapse; }
th, td { border: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: left; } th { position: sticky; top: 0; background: #eee; }
.ok { background: #dff5e1; } .failed { background: #f8d0d0; font-weight: bold; }
</style>
<h1>Crash matrix</h1>
<p>${escaped(summaryOf(run))}. Node.js ${run.node}, ${run.date}, commit ${run.commit}.</p>
<table><thead><tr>${heads}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table></html>
`;
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replaceAll(/[&<>"]/g, (char) => ENTITIES[char]!);

/** The rows of the tables in docs/proof.md by the name of their place. */
export function pageTables(runs: readonly MatrixRun[]): Record<string, string[][]> {
  const byDatabase = [...runs].sort((one, other) => (one.database < other.database ? -1 : 1));
  const summary = byDatabase.map((run) => [
    run.date,
    `\`${run.commit}\``,
    run.database,
    run.broker,
    run.node,
    String(run.cases.length),
    String(failedOf(run).length),
    minutesOf(run),
  ]);
  return { runs: summary, cases: mergedRows(byDatabase) };
}

/** Says so if not all shards were played. */
function minutesOf({ shards }: MatrixRun): string {
  const minutes = shards.map(({ seconds }) => Math.ceil(seconds / 60)).join(' + ');
  const count = countIn(shards[0]!.shard);
  return shards.length === count ? minutes : `${minutes} (${shards.length} of ${count} shards)`;
}

/** A row per failpoint. A cell counts the runs in which the case holds. */
function mergedRows(runs: readonly MatrixRun[]): string[][] {
  const byKey = new Map<string, { row: MatrixRow; cells: MatrixCase[][] }>();
  for (const row of runs.flatMap(({ cases }) => rowsOf(cases))) {
    const key = JSON.stringify([row.failpoint, row.app, row.when]);
    const known = byKey.get(key) ?? { row, cells: row.cells.map(() => []) };
    for (const [index, cell] of row.cells.entries()) if (cell) known.cells[index]!.push(cell);
    byKey.set(key, known);
  }
  const cellOf = (cases: readonly MatrixCase[]) => {
    if (cases.length === 0) return '';
    const held = cases.filter(({ isPassed }) => isPassed).length;
    return held === cases.length ? '✓'.repeat(held) : `${held} of ${cases.length}`;
  };
  return [...byKey.values()].map(({ row, cells }) => [`\`${row.failpoint}\``, placeOf(row), ...cells.map(cellOf)]);
}
