import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { auditOf, freshSandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { inMatrix, MODES, type Mode, type Row, type Scheme } from './matrix-types.js';
import { runCase } from './run-case.js';
import { SHORT_TIMES } from './short-times.js';

const AFTER: Record<Mode, string> = {
  crash: 'after a crash',
  'pause, recover, kill': 'after a pause, a recovery and a kill',
  'pause, recover, continue': 'after a pause, a recovery and a late return',
  error: 'after an error before the step',
  lost: 'after the answer of the step is lost',
};

const sentences = new Map(allFailpoints().map((point) => [point.name, point.disk]));

/** A process start alone may take half a minute on a busy machine. */
const CASE_MS = 120_000;
/** All modes of a row in the long run. Otherwise its first, which is a crash if a process can die there. */
function modesOf({ modes = MODES }: Row): readonly Mode[] {
  return process.env.DTX_TEST_ALL ? modes : modes.slice(0, 1);
}

/** All rows in the long run. Otherwise a failpoint of several apps is played in one, where the same code runs. */
function playedOf(rows: readonly Row[]): readonly Row[] {
  if (process.env.DTX_TEST_ALL) return rows;
  const isSame = (a: Row, b: Row) => a.failpoint === b.failpoint && a.when === b.when;
  return rows.filter((row, index) => !rows.slice(0, index).some((earlier) => isSame(earlier, row)));
}

/**
 * Runs rows in every mode against one sandbox: a fresh instance is the victim, a warm one recovers. In the end the whole
 * sandbox is audited: nothing lost, nothing twice, nothing left open.
 */
export function crashMatrix(name: string, scheme: Scheme, rows: readonly Row[]): void {
  let shop: Stack;

  beforeAll(async () => {
    shop = new Stack(await freshSandbox(`crash_${name}`), { options: SHORT_TIMES, env: scheme.env });
    await shop.start();
    await shop.account('alice', 1_000_000_000);
    await shop.stock('book', 100_000);
  });

  afterAll(() => shop?.stop());

  for (const row of playedOf(rows)) {
    describe(`${row.failpoint} in ${row.app}${row.when ? `, ${row.when}` : ''}: ${sentences.get(row.failpoint)}`, () => {
      for (const mode of modesOf(row)) {
        const name = inMatrix(row.failpoint, row.app, mode, row.when);
        const options = { ...name, timeout: CASE_MS };
        test(`the work ends once ${AFTER[mode]}`, options, () => runCase({ shop, scheme, row, mode }));
      }
    });
  }

  test('every invariant holds after all cases', async () => {
    const report = await auditOf(shop.sandbox);
    expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  });
}
