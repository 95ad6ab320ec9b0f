import { expect, test } from 'vitest';
import { versionBefore } from './build-of-version-before.js';

test('what the version before lacks is found in the present build', () => {
  expect(() => versionBefore('version-before-found')).not.toThrow();
});
