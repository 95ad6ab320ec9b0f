import { describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { read, tracked } from './repository-texts.js';

const product = tracked(...['libs', 'apps', 'tools'].map((folder) => `:(glob)${folder}/**/*.ts`));
const sources = product.filter((file) => !file.endsWith('.spec.ts'));

describe('steps and failpoints', () => {
  test('each failpoint has a sentence on the disk, a finisher, a place in the code and a row in the crash matrix', () => {
    const code = sources.map((file) => read(file)).join('\n');
    const matrix = tracked('test/crash-matrix')
      .map((file) => read(file))
      .join('\n');
    for (const point of allFailpoints()) {
      expect(point.disk.length, point.name).toBeGreaterThan(20);
      expect(point.finisher.length, point.name).toBeGreaterThan(20);
      expect(matrix, `${point.name} has no row`).toContain(`'${point.name}'`);
      const last = point.name.split('.')[1]!;
      expect(code, `${point.name} is never reached`).toMatch(
        new RegExp(`(failpoints|points\\??|\\)\\??)\\.${last.replace(/-(\w)/g, (_, c: string) => c.toUpperCase())}\\b`),
      );
    }
  });

  test.each([
    ['local-message', 6, ['1', '2', '5']],
    ['tcc', 4, ['1', '1 to 3', '3', '4']],
    ['saga', 5, ['1', '2 to 3', '4', '5']],
    ['xa', 5, ['1', '2 to 3', '3', '4', '4', '5']],
    ['half-message', 6, ['1 to 3', '4', '6', '6']],
    ['confirmed-publish', 2, ['1']],
    ['notify', 5, ['1', '2', '3 to 4', '5']],
  ])('each file of %s that is a step says which of %i, in order of the numbers', (scheme, total, steps) => {
    const header = new RegExp(`^// Steps? (\\d(?: to \\d)?) of ${total} - [\\w -]+:`);
    const headers = sources
      .filter((file) => file.startsWith(`libs/dtx/src/${scheme}/`))
      .flatMap((file) => header.exec(read(file))?.[1] ?? []);
    expect(headers.sort()).toEqual(steps);
  });
});
