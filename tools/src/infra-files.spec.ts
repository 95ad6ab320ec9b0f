import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { placeOf, ROOT } from './infra-files.js';

describe('placeOf', () => {
  it('lies in the repository', () => {
    expect(existsSync(join(ROOT, 'package-lock.json'))).toBe(true);
    expect(placeOf('demo')).toBe(join(import.meta.dirname, '..', '..', '.infra', 'demo'));
  });

  it.each(['', 'Demo', '../demo', 'a'.repeat(41)])('refuses the name %j', (name) => {
    expect(() => placeOf(name)).toThrow(/use 1 to 40 of/);
  });
});
