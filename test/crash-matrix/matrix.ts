import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { Stack } from '../support/stack.js';
import { auditOf, freshWorld } from '../support/world.js';
import { MODES, type Row, type Scheme } from './row.js';
import { runCase, SHORT_TIMES } from './run-case.js';

const sentences = new Map(allFailpoints().map((point) => [point.name, point.disk]));

/**
 * Runs rows in every mode against one world: a warm instance of each app recovers, a fresh one is the victim. In the
 * end the whole world is audited: nothing lost, nothing twice, nothing left open.
 */
export function crashMatrix(name: string, scheme: Scheme, rows: readonly Row[]): void {
  let shop: Stack;

  beforeAll(async () => {
    shop = new Stack(await freshWorld(`crash_${name}`), { options: SHORT_TIMES, env: scheme.env });
    await shop.start();
    await shop.account('alice', 1_000_000_000);
    await shop.stock('book', 100_000);
  });

  afterAll(() => shop?.stop());

  for (const row of rows) {
    describe(`${row.failpoint} in ${row.app}${row.when ? `, ${row.when}` : ''}: ${sentences.get(row.failpoint)}`, () => {
      test.each((row.modes ?? MODES).map((mode) => [mode]))(
        '%s',
        (mode) => runCase({ shop, scheme, row, mode }),
        90_000,
      );
    });
  }

  test('in the end every invariant holds', async () => {
    const report = await auditOf(shop.world);
    expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  });
}
