// One run out of results of its shards, which several machines may have played.
import { readFileSync } from 'node:fs';
import { messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import type { MatrixRun } from './cases.js';

/** Must be the same in all parts. */
const SAME = ['commit', 'database', 'broker', 'node'] as const;

/** @throws OperatorError for a file that holds no result */
export function readRun(path: string): MatrixRun {
  try {
    const run = JSON.parse(readFileSync(path, 'utf8')) as MatrixRun;
    if (Array.isArray(run.cases) && Array.isArray(run.shards)) return run;
  } catch (error) {
    throw new OperatorError(`${path} cannot be read: ${messageOf(error)}`);
  }
  throw new OperatorError(`${path} holds no result: give the matrix.json files that npm run crash-matrix wrote`);
}

/** The day is that of the last part. @throws OperatorError for parts of different commits or servers, or of one shard */
export function mergedRun(parts: readonly MatrixRun[]): MatrixRun {
  const [first] = parts;
  if (!first) throw new OperatorError('nothing to publish: give the matrix.json of each shard');
  for (const key of SAME) {
    const values = [...new Set(parts.map((part) => part[key]))];
    if (values.length > 1) throw new OperatorError(`the results differ in their ${key}: ${values.join(', ')}`);
  }
  const shards = parts.flatMap((part) => part.shards);
  const names = shards.map(({ shard }) => shard);
  if (new Set(names).size < names.length || new Set(names.map(countIn)).size > 1)
    throw new OperatorError(`these are not the shards of one run: ${names.join(', ')}`);
  return {
    ...first,
    date: parts
      .map(({ date }) => date)
      .sort()
      .at(-1)!,
    shards,
    cases: parts.flatMap(({ cases }) => cases),
    others: {
      passed: parts.reduce((sum, { others }) => sum + others.passed, 0),
      failed: parts.flatMap(({ others }) => others.failed),
    },
  };
}

/** The number of all shards in `2/6`. */
export const countIn = (shard: string) => Number(shard.split('/')[1]);
