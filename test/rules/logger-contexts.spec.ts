import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

const SOURCE = join(ROOT, 'libs/dtx/src');
const FACTORY = 'core/library-logger.ts';

test('every logger of the library has a context that begins with nest-dtx', () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const own = files.filter((file) => /new (Console)?Logger\(/.test(readFileSync(join(SOURCE, file), 'utf8')));
  expect(own).toEqual([FACTORY]);
  expect(readFileSync(join(SOURCE, FACTORY), 'utf8')).toContain('new Logger(`nest-dtx ${');
});
