import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { freePort } from '../fixtures/free-port.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { type Packed, packFromClone, run, scratch } from './packed-library.js';

/**
 * The tarball in services of strangers: installed from the registry with the versions of each stack, type-checked without
 * `skipLibCheck`, loaded by its test runner, and run against the real servers.
 */
const STACKS = join(ROOT, 'test', 'packed', 'stacks');
const SCHEMES = ['local message', 'half message', 'confirmed publish', 'TCC', 'XA', 'notification'];
/** From `npm install` to the first message handled. */
const ADOPTION_MS_MAX = 600_000;
const SCHEME_LINES_MAX = 40;
const LIMIT_MS = 1_500_000;
const PRINTED = { maxBuffer: 64 * 1024 * 1024 };
const folder = scratch('stacks');
let packed: Packed;

beforeAll(async () => {
  packed = await packFromClone(folder);
}, LIMIT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sources = () => readdirSync(join(STACKS, 'src')).filter((file) => file.endsWith('.ts'));
const sourceOf = (file: string) => readFileSync(join(STACKS, 'src', file), 'utf8');

/** A service with the files of its stack and the sources that all stacks share. */
function serviceOf(stack: string): string {
  const service = join(folder, stack);
  cpSync(join(STACKS, stack), service, { recursive: true });
  mkdirSync(join(service, 'src'));
  const { type } = JSON.parse(readFileSync(join(service, 'package.json'), 'utf8'));
  // In a CommonJS project a relative import has no suffix, and the default jest finds none with one.
  const write = (name: string, code: string) =>
    writeFileSync(join(service, 'src', name), type === 'module' ? code : code.replace(/'(\.\/[\w.-]+)\.js'/g, "'$1'"));
  for (const file of sources()) write(file, sourceOf(file));
  write('unit.spec.ts', sourceOf('unit-spec.template'));
  return service;
}

const install = (service: string) =>
  run('npm', ['install', '--no-audit', '--no-fund', packed.tarball], { cwd: service, ...PRINTED });

/** A command of the service. The error has what the command has printed. */
async function inService(service: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const options = { cwd: service, env: { ...process.env, ...env }, ...PRINTED };
  return run(command, args, options).catch(({ stdout, stderr }) => {
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`);
  });
}

const typeCheck = (service: string, ...options: string[]) =>
  inService(service, process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.', ...options]);

interface Shown {
  readonly scheme: string;
  readonly ms: number;
  readonly at: number;
}

/** Runs every scheme of the service once. @returns what each has taken */
async function runSchemes(service: string, stack: string): Promise<Shown[]> {
  const { databases, rabbitmq, redis } = await freshSandbox(`packed_${stack}`, { audited: false });
  const { stdout } = await inService(service, process.execPath, ['dist/main.js'], {
    SHOP_DATABASE: databases.order,
    STOCK_DATABASE: databases.inventory,
    RABBITMQ_URL: rabbitmq,
    REDIS_URL: redis,
    MERCHANT: `http://127.0.0.1:${await freePort()}/`,
  });
  return stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
}

describe.each([
  ['n12', 'Nest 12, ESM, vitest and TypeORM 1', [['--module', 'esnext', '--moduleResolution', 'bundler']]],
  ['n11', 'Nest 11, CommonJS, jest and TypeORM 0.3', [['--module', 'nodenext', '--moduleResolution', 'nodenext']]],
  ['oldest', 'the oldest peers', [['--module', 'nodenext', '--moduleResolution', 'nodenext']]],
] as const)('the tarball in a service %s', { timeout: LIMIT_MS }, (stack, versions, resolutions) => {
  test(`with ${versions} installs, compiles, passes unit tests and runs every scheme`, async () => {
    const service = serviceOf(stack);
    const since = Date.now();
    await install(service);
    const installedMs = Date.now() - since;
    await typeCheck(service);
    for (const options of resolutions) await typeCheck(service, '--noEmit', ...options);
    const shown = await runSchemes(service, stack);
    expect(shown.map(({ scheme }) => scheme)).toEqual(SCHEMES);
    const handledMs = shown[0]!.at - since;
    console.log(`${stack}: npm install ${installedMs} ms, first message handled after ${handledMs} ms`, shown);
    expect(handledMs).toBeLessThan(ADOPTION_MS_MAX);
    await inService(service, 'npm', ['test']);
  });
});

describe('the source of a stranger', () => {
  test.each(
    ['local-message', 'half-message', 'confirmed-publish', 'tcc', 'xa', 'notification'].map((scheme) => [scheme]),
  )(`needs at most ${SCHEME_LINES_MAX} lines for %s`, (scheme) => {
    const lines = sourceOf(`${scheme}.ts`).split('\n');
    expect(lines.filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(SCHEME_LINES_MAX);
  });
});

/** Contracts take any schema of the interface Standard Schema, once the library does not name zod in them. */
const isStandard = !/from 'zod'/.test(
  readFileSync(join(ROOT, 'libs', 'dtx', 'src', 'core', 'broker', 'message-contract.ts'), 'utf8'),
);

describe.skipIf(!isStandard)('contracts', { timeout: LIMIT_MS }, () => {
  test('are made of schemas by zod 3.25, zod 4.0, zod 4, valibot and arktype', async () => {
    const service = join(folder, 'contracts');
    cpSync(join(STACKS, 'contracts'), service, { recursive: true });
    mkdirSync(join(service, 'src'));
    cpSync(join(service, 'contracts.template'), join(service, 'src', 'contracts.ts'));
    await install(service);
    await typeCheck(service);
    const { stdout } = await inService(service, process.execPath, ['dist/contracts.js']);
    expect(JSON.parse(stdout)).toEqual(['1', '2', '3', '4', '5', '6']);
  });
});
