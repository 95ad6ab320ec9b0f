import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { shownAtOptions } from './option-docs.js';
import { type Packed, packFromClone, projectWith, run, scratch } from './packed-library.js';

/** The tarball as npm would publish it: its content, and what it gives to `require`, `import` and TypeScript. */
const UNPACKED_BYTES_MAX = 1_500_000;
const LIMIT_MS = 180_000;
const folder = scratch('tarball');
let packed: Packed;
let project: string;
let manifest: Record<string, unknown> & { exports: Record<string, unknown> };

beforeAll(async () => {
  packed = await packFromClone(folder);
  project = await projectWith(packed.tarball, folder, ['ioredis']);
  manifest = JSON.parse(textOf('package.json'));
}, LIMIT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const textOf = (file: string) => readFileSync(join(project, 'node_modules', 'nest-dtx', file), 'utf8');

/** Each entry that is code, as it is imported. */
const entries = () =>
  Object.keys(manifest.exports).flatMap((path) => (path.endsWith('.json') ? [] : [`nest-dtx${path.slice(1)}`]));

/** Runs a program in the project. @returns the JSON that it prints */
async function answerOf(file: string, code: string): Promise<unknown> {
  writeFileSync(join(project, file), code);
  const { stdout } = await run(process.execPath, [file], { cwd: project });
  return JSON.parse(stdout);
}

describe('the content of the tarball', () => {
  test('is the code of its entries with their declarations, the README in two languages and the licence', () => {
    const named = entries().map((entry) => entry.replace(/^nest-dtx\/?/, ''));
    const code = packed.files.filter((file) => /\.m?js$/.test(file) && !/^dist\/(shared|cli)\//.test(file));
    const bases = code.flatMap((file) => (file.endsWith('.mjs') ? [file.replace(/\.mjs$/, '')] : []));
    expect(bases.map((base) => base.replace(/^dist\/|\/?index$/g, '')).toSorted()).toEqual(named.toSorted());
    expect(code.toSorted()).toEqual(bases.flatMap((base) => [`${base}.js`, `${base}.mjs`]).toSorted());
    const others = packed.files.filter((file) => !/\.(m?js|d\.m?ts)$/.test(file));
    expect(others.toSorted()).toEqual(['LICENSE', 'README-zh-CN.md', 'README.md', 'package.json']);
    expect(textOf('LICENSE')).toBe(readFileSync(join(ROOT, 'LICENSE'), 'utf8'));
  });

  test(`has at most ${UNPACKED_BYTES_MAX} bytes`, () => {
    expect(packed.unpackedSize).toBeLessThanOrEqual(UNPACKED_BYTES_MAX);
  });

  test('has the docstrings of exported names and of types, not those of inner functions', () => {
    expect(textOf('dist/local-message/outbox.d.ts')).toMatch(/@example[^/]+\*\/\s+append</);
    const declarations = textOf('dist/core/failpoint.d.ts');
    expect(declarations).toMatch(/\*\/\s+export interface Failpoint /);
    expect(declarations).toMatch(/\*\/\s+export declare function allFailpoints/);
    expect(declarations).not.toMatch(/\*\/\s+export declare function failpoint</);
  });

  test('has a docstring at each option of each module, with the default of its schema', { timeout: LIMIT_MS }, () => {
    const declarations = packed.files.filter((file) => /^dist\/([\w-]+\/)?index\.d\.ts$/.test(file));
    const shown = shownAtOptions(project, declarations);
    expect([...shown].filter(([, text]) => text === '')).toEqual([]);
    const modules = new Set([...shown.keys()].map((name) => name.split('.')[0]));
    expect(modules.size).toBeGreaterThanOrEqual(8);
    expect(shown.get('XaModule.backoff.firstMs')).toBe('The first wait. Default: `500` ms.');
    expect(shown.get('DtxModule.inbox.retentionMs')).toMatch(/ is kept\. .* Default: `691200000` ms \(8 d\)\.$/);
    expect(shown.get('TccModule.payloadMaxBytes')).toMatch(/ Default: `262144` bytes\.$/);
  });

  test('has one file that npm takes for its README', () => {
    expect(packed.files.filter((file) => /^readme(\.|$)/i.test(file))).toEqual(['README.md']);
  });

  test('requires no package that its manifest does not name', () => {
    const { dependencies, peerDependencies } = manifest as unknown as Record<string, Record<string, string>>;
    const named = new Set([...Object.keys({ ...dependencies, ...peerDependencies }), ...builtinModules]);
    const required = packed.files.flatMap((file) =>
      /\.m?js$/.test(file)
        ? [...textOf(file).matchAll(/\b(?:require\(|from |import )["'](?:node:)?([\w@][^"']*)["']/g)]
        : [],
    );
    const packages = new Set(required.map(([, path]) => path!.match(/^(@[^/]+\/)?[^/]+/)![0]));
    expect(packages).toContain('amqplib');
    expect([...packages].filter((name) => !named.has(name))).toEqual([]);
  });

  test('names no file that it does not have', () => {
    const links = ['README.md', 'README-zh-CN.md'].flatMap((page) =>
      [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!),
    );
    expect(links.filter((link) => !/^(https:|#)/.test(link) && !packed.files.includes(link))).toEqual([]);
    const missing = packed.files.flatMap((file) => {
      const text = textOf(file);
      const maps = text.includes('sourceMappingURL=') ? [`${file}: a source map`] : [];
      if (!/\.d\.m?ts$/.test(file)) return maps;
      const named = [...text.matchAll(/(?:from|import\() ?["'](\.[^"']+)\.js["']/g)];
      const lost = named.filter(
        ([, name]) => !existsSync(join(project, 'node_modules/nest-dtx', file, '..', `${name}.d.ts`)),
      );
      return [...maps, ...lost.map(([, name]) => `${file}: ${name}`)];
    });
    expect(missing).toEqual([]);
  });

  test('has no code that only an ES module or a newer loader runs', () => {
    const code = packed.files.filter((file) => file.endsWith('.js') && !file.startsWith('dist/cli/'));
    // Beside a `require` of the same package, an `import` is never reached in this build.
    const isForModules = /(?<!require\(["'][^"']+["']\) : )\bimport\(|\bimport\.meta\b/;
    expect(code.filter((file) => isForModules.test(textOf(file)))).toEqual([]);
  });
});

describe('the entries of the tarball', { timeout: LIMIT_MS }, () => {
  test('give the same names and values to require and to import, without the optional ioredis', async () => {
    const names = (await answerOf(
      'names.cjs',
      `const all = ${JSON.stringify(entries())}.map((entry) => [entry, Object.keys(require(entry))]);
       console.log(JSON.stringify(all));`,
    )) as Array<[entry: string, names: string[]]>;
    expect(names.filter(([, found]) => found.length === 0)).toEqual([]);
    const imports = names.map(
      ([entry, found], nth) =>
        `import { ${found.map((name) => `${name} as ${name}_${nth}`).join(', ')} } from '${entry}';`,
    );
    const pairs = names.flatMap(([entry, found], nth) =>
      found.map((name) => `['${entry} ${name}', ${name}_${nth} === require('${entry}').${name}]`),
    );
    const program = `import { createRequire } from 'node:module';
      ${imports.join('\n')}
      const require = createRequire(import.meta.url);
      console.log(JSON.stringify([${pairs.join(',\n')}].filter(([, isSame]) => !isSame)));`;
    expect(await answerOf('named-imports.mjs', program)).toEqual([]);
  });

  test('load beside parallel imports of Nest', async () => {
    const together = ['nest-dtx/tcc', '@nestjs/core', 'nest-dtx', '@nestjs/microservices', '@nestjs/common'];
    const program = `const loaded = await Promise.all(${JSON.stringify(together)}.map((name) => import(name)));
      console.log(JSON.stringify(loaded.length));`;
    expect(await answerOf('parallel-imports.mjs', program)).toBe(together.length);
  });

  test('run a saga with its fake, and undo it when a step refuses', async () => {
    const program = `import 'reflect-metadata';
      import { Rejected } from 'nest-dtx';
      import { defineSaga, defineStep } from 'nest-dtx/saga';
      import { FakeSagas, fakeTransaction } from 'nest-dtx/testing';
      import { z } from 'zod';
      const args = z.object({ sku: z.string() });
      const take = defineStep({ name: 'stock.take', version: 1, args });
      const pay = defineStep({ name: 'money.pay', version: 1, args });
      const steps = ({ compensable, pivot }) => [compensable(take, (s) => s.input), pivot(pay, (s) => s.input)];
      const purchase = defineSaga({ name: 'order.purchase', version: 1, input: args, deadlineMs: 60_000, steps });
      const calls = [];
      const called = (name) => () => void calls.push(name);
      const refuse = (args) => { if (args.sku === 'yacht') throw new Rejected('POOR'); calls.push('pay'); };
      const sagas = new FakeSagas()
        .stub(take, { do: called('take'), undo: called('put back') })
        .stub(pay, { do: refuse });
      for (const sku of ['book', 'yacht']) {
        const { status, reason = null } = await sagas.outcome(await sagas.start(fakeTransaction(), purchase, { sku }));
        calls.push(status + ' ' + reason);
      }
      console.log(JSON.stringify(calls));`;
    const expected = ['take', 'pay', 'COMPLETED null', 'take', 'put back', 'COMPENSATED POOR'];
    expect(await answerOf('saga.mjs', program)).toEqual(expected);
  });

  test('are found by TypeScript that does not read exports', () => {
    const { main, types, typesVersions } = manifest as unknown as Record<'main' | 'types', string> & {
      typesVersions: { '*': Record<string, [string]> };
    };
    const [, ...subpaths] = entries().map((entry) => entry.replace('nest-dtx/', ''));
    expect(Object.keys(typesVersions['*'])).toEqual(subpaths);
    const targets = [main, types, ...Object.values(typesVersions['*']).flat()];
    expect(targets.filter((file) => !packed.files.includes(file.replace('./', '')))).toEqual([]);
  });
});

describe('the tarball', { timeout: LIMIT_MS }, () => {
  test('passes publint', async () => {
    const publint = join(ROOT, 'node_modules', 'publint', 'src', 'cli.js');
    const { stdout } = await run(process.execPath, [publint, 'run', packed.tarball, '--strict'], { cwd: project });
    expect(stdout).toContain('All good!');
  });

  test('passes @arethetypeswrong/cli, also for the resolution node10', async () => {
    const attw = join(ROOT, 'node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js');
    const options = { maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await run(process.execPath, [attw, packed.tarball, '--format', 'json'], options);
    const { analysis, problems } = JSON.parse(stdout);
    expect(problems ?? {}).toEqual({});
    expect(analysis.problems).toEqual([]);
    expect(Object.keys(analysis.entrypoints['./xa'].resolutions)).toContain('node10');
  });
});
