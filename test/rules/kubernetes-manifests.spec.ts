import { loadAll } from 'js-yaml';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { opsCalls } from '../../libs/dtx/src/ops/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { read, tracked } from './repository-texts.js';

interface Manifest {
  readonly kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: the compiler checks the shape below
  readonly spec: any;
}

/** The types that kubernetes-types generates from the API of Kubernetes. */
const MODULES: Record<string, string> = { Deployment: 'apps/v1', Service: 'core/v1', PodDisruptionBudget: 'policy/v1' };
const files = tracked(':(glob)docs/kubernetes/*.yaml');
const manifestsOf = (text: string) => loadAll(text) as Manifest[];

/** What the compiler says about the manifests as literals of their types. It finds unknown fields and wrong kinds of values. */
function problemsOf(manifests: readonly Manifest[]): string[] {
  const name = `${ROOT}/test/rules/kubernetes-manifests.checked.ts`;
  const text = manifests
    .map((manifest, index) => {
      const type = `import('kubernetes-types/${MODULES[manifest.kind]}').${manifest.kind}`;
      return `export const manifest${index}: ${type} = ${JSON.stringify(manifest)};`;
    })
    .join('\n');
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.getSourceFile = (file, version) =>
    file === name ? ts.createSourceFile(file, text, version) : getSourceFile(file, version);
  const found = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
  return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}

it.each(files)('%s has the types of the Kubernetes API', (file) => {
  expect(problemsOf(manifestsOf(read(file)))).toEqual([]);
});

it.each([
  ['maxUnavailable: 1\n', 'maxUnavailabel: 1\n', /maxUnavailabel/],
  ['replicas: 3', 'replicas: three', /'string' is not assignable to type 'number'/],
])('the check finds %j written as %j', (right, wrong, problem) => {
  expect(problemsOf(manifestsOf(read(files[0]!).replace(right, wrong))).join()).toMatch(problem);
});

it.each(files)('%s probes paths of the apps, and leaves a stop its time', (file) => {
  const { spec } = manifestsOf(read(file)).find(({ kind }) => kind === 'Deployment')!;
  const { containers, terminationGracePeriodSeconds: graceSeconds } = spec.template.spec;
  const [{ readinessProbe, livenessProbe, lifecycle }] = containers;
  const paths = [livenessProbe, readinessProbe].map((probe) => probe.httpGet.path);
  expect(paths).toEqual(['/health/live', '/health/ready']);
  expect(opsCalls.map(({ path }) => path)).toEqual(expect.arrayContaining(paths));
  const stopMs = Number(/STOP_TIMEOUT_MS = ([\d_]+)/.exec(read('libs/host/src/serve.ts'))![1]!.replace('_', ''));
  expect(graceSeconds * 1_000).toBeGreaterThan(lifecycle.preStop.sleep.seconds * 1_000 + stopMs);
});
