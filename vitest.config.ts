import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Sorts the projects in the order below, so that the crash matrices start first. Their files run the longest. The last
 * one would otherwise run alone while the other workers have no work left. Files of one project share their workers.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return Object.keys(projects).flatMap((name) => sorted.filter(({ project }) => project.name === name));
  }
}

interface Project {
  readonly include: string[];
  readonly exclude?: string[];
  readonly testTimeout?: number;
  readonly isolate?: boolean;
  readonly globalSetup?: string;
  readonly setupFiles?: string[];
}

/** Of the projects that start apps. */
const globalSetup = source('./test/fixtures/bundled-apps.ts');
const killLeft = source('./test/fixtures/kill-left-processes.ts');
/** Before `killLeft`, which must have the modules of the spec file. */
const libraryOfItsOwn = source('./test/fixtures/library-of-its-own.ts');

/**
 * The file name decides the project. `tools/src/commands/test/needs-servers.ts` reads the same names, to tell a run that needs servers.
 * unit: `*.spec.ts`, rules without servers. component: `*.component-spec.ts`, the library against real servers.
 * e2e: `*.e2e-spec.ts`, the apps as processes. crash and mutants: their folders.
 *
 * Loading Nest and TypeORM takes seconds, so the files of a worker share one process and load them once. Component files define
 * contracts and start services, so each of them gets a library of its own.
 */
const projects: Record<string, Project> = {
  mutants: { include: ['test/mutants/**/*.e2e-spec.ts'], isolate: false, globalSetup },
  crash: { include: ['test/crash-matrix/**/*.e2e-spec.ts'], isolate: false, globalSetup },
  e2e: { include: ['test/**/*.e2e-spec.ts'], exclude: ['test/{crash-matrix,mutants}/**'], isolate: false, globalSetup },
  component: { include: ['test/**/*.component-spec.ts'], isolate: false, setupFiles: [libraryOfItsOwn, killLeft] },
  unit: {
    include: ['{libs,apps}/*/src/**/*.spec.ts', 'tools/src/**/*.spec.ts', 'test/**/*.spec.ts'],
    testTimeout: 20_000,
    isolate: false,
  },
};

/** `*.long.*` files run only in `npm run test:all` and with `--all`. */
const long = process.env.DTX_TEST_ALL ? [] : ['test/**/*.long.*'];

/** Each spec file that uses servers has databases and a vhost of its own, so files run side by side. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^nest-dtx$/, replacement: source('./libs/dtx/src/index.ts') },
      { find: /^nest-dtx\/([\w-]+)$/, replacement: source('./libs/dtx/src/$1/index.ts') },
      { find: /^@nest-dtx\/(host|shop)$/, replacement: source('./libs/$1/src/index.ts') },
    ],
  },
  test: {
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    maxWorkers: 3,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 20_000,
    projects: Object.entries(projects).map(([name, { include, exclude = [], setupFiles = [killLeft], ...rest }]) => ({
      extends: true,
      test: { ...rest, name, include, setupFiles, exclude: ['**/node_modules/**', '**/dist/**', ...exclude, ...long] },
    })),
  },
});
