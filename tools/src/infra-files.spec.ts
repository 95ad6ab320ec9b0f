import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { placeOf, ROOT } from './infra-files.js';

describe('ROOT', () => {
  it('is the folder of this repository, so that two clones do not share servers', () => {
    expect(existsSync(join(ROOT, 'package-lock.json'))).toBe(true);
    expect(placeOf('demo')).toBe(join(import.meta.dirname, '..', '..', '.infra', 'demo'));
  });
});
