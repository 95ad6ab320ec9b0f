// Builds the library for a tarball, in the folder of the package: node ../../scripts/packed-build.mjs
// The code is CommonJS in one file per entry and a few that entries share: half the size of the repository's own build. The
// tarball has no source maps, no comments in its JavaScript, and only the declarations that an entry reaches. In them, the
// services and functions that no entry exports have no docstrings, and each option has its own with its default.
// The next `npm run build` makes the repository's own build anew, because this one leaves no .tsbuildinfo.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { docsOf, withOptionDocs } from './option-docs.mjs';
import { withoutInnerDocs } from './packed-declarations.mjs';

const DIST = 'dist';
const MODULES = join(DIST, 'modules');
/** The file of tslib that a bundler can join. */
const HELPERS = 'tslib/tslib.es6.mjs';

/** ES modules, which a bundler can join without a wrapper around each, and the declarations. */
function compile() {
  rmSync(DIST, { recursive: true, force: true });
  const off = ['composite', 'incremental', 'sourceMap', 'declarationMap'].flatMap((option) => [`--${option}`, 'false']);
  const format = [
    // Nest makes the services. The types of their parts would bring most declarations of the package.
    '--stripInternal',
    '--importHelpers',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    '--outDir',
    MODULES,
    '--tsBuildInfoFile',
    'null',
  ];
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', '.', ...format, ...off], { stdio: ['ignore', 'inherit', 'inherit'] });
}

/** The modules that the package's manifest names, such as `xa/index.js`. */
function entries() {
  const { exports, bin = {} } = JSON.parse(readFileSync('package.json', 'utf8'));
  const named = [...Object.values(exports).map((target) => target.default?.default), ...Object.values(bin)];
  return named.flatMap((path) => (path ? [relative(DIST, path)] : []));
}

async function bundle() {
  const input = Object.fromEntries(entries().map((file) => [file.replace(/\.js$/, ''), join(MODULES, file)]));
  const build = await rolldown({
    input,
    platform: 'node',
    // The helpers of decorators come once, and not with each class.
    external: (id) => !/^([./]|tslib)/.test(id),
    resolve: { alias: { tslib: HELPERS } },
    // Each module registers what it defines: failpoints, tables, schemes.
    treeshake: false,
  });
  // Names of classes appear in errors, logs and the injection of Nest.
  const output = { dir: DIST, format: 'cjs', strict: true, esModule: true, keepNames: true, comments: false };
  // The core is one file: its modules name each other without the name of a file, which saves 36 kB.
  const codeSplitting = { groups: [{ name: 'core', test: /[\\/]modules[\\/]core[\\/]/ }] };
  await build.write({ ...output, codeSplitting, chunkFileNames: 'shared/[name].js' });
  await build.close();
}

/** The files that entries share export constants only, so an assignment serves as well as a getter, in a third of its bytes. */
function assignExports() {
  const getter =
    /Object\.defineProperty\(exports, "(\w+)", \{\n\tenumerable: true,\n\tget: function\(\) \{\n\t\treturn (\w+);\n\t\}\n\}\);/g;
  const shared = join(DIST, 'shared');
  for (const file of readdirSync(shared)) {
    const text = readFileSync(join(shared, file), 'utf8');
    writeFileSync(join(shared, file), text.replace(getter, 'exports.$1 = $2;'));
  }
}

/** Copies the wrappers for `import`, and the declarations that an entry reaches. */
function copyTheRest() {
  const copy = (file) => {
    mkdirSync(dirname(join(DIST, file)), { recursive: true });
    copyFileSync(join(MODULES, file), join(DIST, file));
  };
  const wrappers = readdirSync(MODULES, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(d\.mts|mjs)$/.test(file),
  );
  const reached = new Set(entries().map((file) => file.replace(/\.js$/, '.d.ts')));
  for (const file of reached)
    for (const [, name] of readFileSync(join(MODULES, file), 'utf8').matchAll(
      /(?:from|import\() ?["'](\.[^"']+)\.js["']/g,
    ))
      reached.add(`${join(dirname(file), name)}.d.ts`);
  for (const file of [...wrappers, ...reached]) copy(file);
  const roots = entries().map((file) => join(MODULES, file.replace(/\.js$/, '.d.ts')));
  const texts = withoutInnerDocs(
    roots,
    [...reached].map((file) => join(MODULES, file)),
  );
  for (const [file, text] of texts) writeFileSync(join(DIST, relative(MODULES, file)), text);
}

/** Writes a docstring at each field of the options, with its default. */
async function documentOptions() {
  // The manifest of the package says that its modules are CommonJS, and these are not.
  writeFileSync(join(MODULES, 'package.json'), '{ "type": "module" }');
  const docsIn = (folder) => docsOf(readFileSync(join('src', folder, 'options.ts'), 'utf8'));
  const core = docsIn('core');
  const backoff = ['firstMs', 'factor', 'capMs'].map((field) => [field, core.get(field)]);
  for (const folder of readdirSync(DIST)) {
    const file = join(DIST, folder, 'options.d.ts');
    if (!existsSync(file)) continue;
    const schemas = await import(pathToFileURL(resolve(MODULES, folder, 'options.js')).href);
    const docs = new Map([...backoff, ...docsIn(folder)]);
    writeFileSync(file, withOptionDocs(readFileSync(file, 'utf8'), docs, schemas));
  }
}

compile();
await bundle();
assignExports();
copyTheRest();
await documentOptions();
rmSync(MODULES, { recursive: true });
