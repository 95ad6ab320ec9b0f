// The published result: a JSON file per pair of servers under docs/proof, and the tables of the pages made from them.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import { ROOT } from '../../infra-files.js';
import type { MatrixRun } from './cases.js';
import { pageTables } from './matrix-report.js';

const FOLDER = join(ROOT, 'docs', 'proof');
export const PAGES = ['docs/proof.md', 'docs/proof.zh-CN.md'];

/** Publishes a run in place of the last one on the same servers. Returns the paths of the written files. */
export function publish(run: MatrixRun): string[] {
  mkdirSync(FOLDER, { recursive: true });
  const file = `${fileNameOf(run)}.json`;
  writeFileSync(join(FOLDER, file), `${JSON.stringify(run, null, 1)}\n`);
  for (const page of PAGES) {
    const path = join(ROOT, page);
    writeFileSync(path, withTables(readFileSync(path, 'utf8'), publishedRuns()));
  }
  return [`docs/proof/${file}`, ...PAGES];
}

/** `mariadb-10.11-rabbitmq-3.10`: a new patch version takes the place of the old one. */
function fileNameOf({ database, broker }: MatrixRun): string {
  const minor = (text: string) => /\d+\.\d+/.exec(text)?.[0] ?? '0';
  const vendor = /maria/i.test(database) ? 'mariadb' : 'mysql';
  return `${vendor}-${minor(database)}-rabbitmq-${minor(broker)}`;
}

export function publishedRuns(): MatrixRun[] {
  if (!existsSync(FOLDER)) return [];
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
  return files.sort().map((name) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as MatrixRun);
}

/** Replaces the rows between `<!-- proof:name -->` and `<!-- /proof:name -->`. Their head is in the language of the page. */
export function withTables(page: string, runs: readonly MatrixRun[]): string {
  return Object.entries(pageTables(runs)).reduce((text, [name, rows]) => {
    const place = new RegExp(`(<!-- proof:${name} -->\\s+\\|.*\\n\\| ---.*\\n)[^]*?(\\n<!-- /proof:${name} -->)`);
    if (!place.test(text)) throw new OperatorError(`a page has no table between proof:${name} and /proof:${name}`);
    const lines = rows.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
    return text.replace(place, (_, head: string, end: string) => `${head}${lines}${end}`);
  }, page);
}
