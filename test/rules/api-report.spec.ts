import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { apiReport } from './api-report.js';

test('libs/dtx/api.md lists every exported name of every subpath with its declaration', async () => {
  await expect(apiReport()).toMatchFileSnapshot(join(ROOT, 'libs', 'dtx', 'api.md'));
});
