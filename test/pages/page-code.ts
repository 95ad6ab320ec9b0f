import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';

/**
 * The code of a page in `docs/`, in the order of the page. A test executes it as it stands there, so the page and its test
 * cannot differ.
 */
export function codeOf(page: string, language: 'sql' | 'sh' | 'ts'): string[] {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8');
  return [...text.matchAll(/^ *```(\w+)\n([\s\S]*?)^ *```$/gm)]
    .filter(([, name]) => name === language)
    .map(([, , code]) => code!);
}

/** The statements of an SQL block. Statements of the pages contain no semicolon. */
export function statementsOf(code: string): string[] {
  return code
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
