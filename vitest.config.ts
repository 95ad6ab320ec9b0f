import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * The crash matrices first: their files are the smallest, which is what vitest goes by, and run the longest. Begun last,
 * one of them would run on alone while the other workers have nothing left to do.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => moduleId.includes('/crash-matrix/');
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

/**
 * Units run from source beside the code; everything under test/ drives the built apps as real processes against real
 * servers. Spec files run side by side, each in a world (databases, vhost) of its own.
 */
export default defineConfig({
  resolve: {
    alias: {
      'nest-dtx/testing': source('./libs/dtx/src/testing.ts'),
      'nest-dtx': source('./libs/dtx/src/index.ts'),
    },
  },
  test: {
    include: ['libs/*/src/**/*.spec.ts', 'apps/*/src/**/*.spec.ts', 'tools/src/**/*.spec.ts', 'test/**/*spec.ts'],
    exclude: ['**/node_modules/**', '**/dist/**', ...(process.env.DTX_TEST_ALL ? [] : ['test/**/*.long.e2e-spec.ts'])],
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    maxWorkers: 3,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 20_000,
  },
});
