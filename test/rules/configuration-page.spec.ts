import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { configurationPage } from './configuration-page.js';

test('docs/configuration.md lists every option of every module as its schema has it', async () => {
  await expect(configurationPage()).toMatchFileSnapshot(join(ROOT, 'docs', 'configuration.md'));
});
