import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

const ROOMS = readdirSync(join(ROOT, 'libs', 'dtx', 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
/** A path in the library's build, as tests and mutants write it. */
const MODULE = new RegExp(`'((?:${ROOMS.join('|')})/[\\w/-]+)\\.js'`, 'g');

test('every module of the build that a test names has a source', () => {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' });
  const named = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      [...readFileSync(join(ROOT, 'test', file), 'utf8').matchAll(MODULE)].map(([, name]) => ({ file, name: name! })),
    );
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter(({ name }) => !existsSync(join(ROOT, 'libs', 'dtx', 'src', `${name}.ts`)))).toEqual([]);
});
