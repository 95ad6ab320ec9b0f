import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Administrator } from '../core/broker/broker-administrator.js';
import { prepareStrange, strangeUrl } from '../core/database/strange-session-accounts.js';
import { ROOT } from '../fixtures/app-process.js';
import { freePort } from '../fixtures/free-port.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { dmlOf, limitedAccount } from '../schema/limited-account.js';
import { type Packed, packFromClone, run, scratch } from './packed-library.js';

/**
 * The tarball in services of strangers: installed from the registry with the versions of each stack, type-checked without
 * `skipLibCheck`, loaded by its test runner, and run against the real servers.
 */
const STACKS = join(ROOT, 'test', 'packed', 'stacks');
const SCHEMES = ['local message', 'half message', 'confirmed publish', 'TCC', 'saga', 'XA', 'notification'];
/** From `npm install` to the first message handled. */
const ADOPTION_MS_MAX = 600_000;
const SCHEME_LINES_MAX = 40;
const LIMIT_MS = 1_500_000;
/** The zone of the process, in which the driver writes dates unless told otherwise. The account `east` has the same. */
const ZONE = 'Asia/Shanghai';
/** Less than any shift between two time zones, and more than a slow machine needs. */
const AN_HOUR_MS = 3_600_000;
const PRINTED = { maxBuffer: 64 * 1024 * 1024 };
const folder = scratch('stacks');
let packed: Packed;

beforeAll(async () => {
  packed = await packFromClone(folder);
}, LIMIT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

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
  // The repository would run the unit tests by their names, and it lacks packages of the other templates.
  for (const file of readdirSync(join(STACKS, 'src')))
    write(file.replace('-spec.template', '.spec.ts').replace('.template', '.ts'), sourceOf(file));
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

/** What a pool shows: the settings of its sessions, and the dates of the rows. */
interface Pool {
  readonly sessions: ReadonlyArray<Readonly<Record<string, string>>>;
  readonly dates: Readonly<Record<string, { readonly issued: string; readonly created: string }>>;
}

interface UnchangedSession {
  readonly state: string;
  readonly now: string;
  readonly before: Pool;
  readonly after: Pool;
  /** The dates as a handler has read them. */
  readonly inHandler: ReadonlyArray<Pool['dates']>;
}

interface StrayStatement {
  readonly state: string;
  readonly error: string;
  readonly effects: number;
}

/** Runs a program of the service. @returns the lines of JSON that it has printed */
async function linesOf<Line>(service: string, program: string, env: NodeJS.ProcessEnv): Promise<Line[]> {
  const { stdout } = await inService(service, process.execPath, [`dist/${program}.js`], env);
  return stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
}

/** Runs every scheme of the service once. @returns what each has taken */
const runSchemes = async (service: string, { databases, rabbitmq, redis }: Sandbox) =>
  linesOf<Shown>(service, 'main', {
    SHOP_DATABASE: databases.order,
    STOCK_DATABASE: databases.inventory,
    RABBITMQ_URL: rabbitmq,
    REDIS_URL: redis,
    MERCHANT: `http://127.0.0.1:${await freePort()}/`,
  });

/** What the service has seen of each guarantee, by the name of the guarantee. */
async function seenGuarantees(service: string, sandbox: Sandbox): Promise<Record<string, unknown>> {
  await prepareStrange(sandbox);
  const admin = await Administrator.of(sandbox);
  const user = `fixed-${sandbox.name}`;
  const fixed = await admin.account(user, 'fixed-Passw0rd', { configure: '^$', write: '.*', read: '.*' });
  const lines = await linesOf<{ guarantee: string }>(service, 'guarantees', {
    TZ: ZONE,
    DATABASE: sandbox.databases.payment,
    EAST_DATABASE: strangeUrl(sandbox, 'payment', 'east'),
    ROWS_DATABASE: (await limitedAccount(sandbox, [dmlOf(sandbox)])).url,
    RABBITMQ_URL: sandbox.rabbitmq,
    FIXED_RABBITMQ_URL: fixed,
    OWN_PORT: String(await freePort()),
  }).finally(() => admin.close([user]));
  return Object.fromEntries(lines.map(({ guarantee, ...seen }) => [guarantee, seen]));
}

describe.each([
  ['n12', 'Nest 12, ESM, vitest and TypeORM 1', [['--module', 'esnext', '--moduleResolution', 'bundler']]],
  ['n11', 'Nest 11, CommonJS, jest and TypeORM 0.3', [['--module', 'nodenext', '--moduleResolution', 'nodenext']]],
  ['oldest', 'the oldest peers', [['--module', 'nodenext', '--moduleResolution', 'nodenext']]],
] as const)('the tarball in a service %s', { timeout: LIMIT_MS }, (stack, versions, resolutions) => {
  let sandbox: Sandbox;
  let service: string;
  let seen: Record<string, unknown> | undefined;

  /** What the program has seen of one guarantee. The first test that asks runs the program, which looks at all of them. */
  async function guarantee<Seen>(name: string): Promise<Seen> {
    seen ??= await seenGuarantees(service, sandbox);
    return seen[name] as Seen;
  }

  test(`with ${versions} installs, compiles, passes unit tests and runs every scheme`, async () => {
    sandbox = await freshSandbox(`packed_${stack}`, { audited: false });
    service = serviceOf(stack);
    const since = Date.now();
    await install(service);
    const installedMs = Date.now() - since;
    await typeCheck(service);
    for (const options of resolutions) await typeCheck(service, '--noEmit', ...options);
    const shown = await runSchemes(service, sandbox);
    expect(shown.map(({ scheme }) => scheme)).toEqual(SCHEMES);
    const handledMs = shown[0]!.at - since;
    console.log(`${stack}: npm install ${installedMs} ms, first message handled after ${handledMs} ms`, shown);
    expect(handledMs).toBeLessThan(ADOPTION_MS_MAX);
    await inService(service, 'npm', ['test']);
  });

  test('leaves the sessions of its pool alone, and its dates are the same before and after', async () => {
    const { state, now, before, after, inHandler } = await guarantee<UnchangedSession>('unchangedSession');
    expect(state).toBe('HANDLED');
    expect(before.sessions[0]).toMatchObject({ time_zone: '+08:00', innodb_lock_wait_timeout: '50' });
    for (const session of [...before.sessions, ...after.sessions]) expect(session).toEqual(before.sessions[0]);
    expect(Object.keys(after.dates).sort()).toEqual(['after', 'before', 'handler']);
    expect(after.dates.before).toEqual(before.dates.before);
    expect(inHandler).toEqual([after.dates]);
    for (const date of Object.values(after.dates).flatMap(({ issued, created }) => [issued, created]))
      expect(Math.abs(Date.parse(now) - Date.parse(date))).toBeLessThan(AN_HOUR_MS);
  });

  test('has a handler refused that writes by an injected repository', async () => {
    const { state, error, effects } = await guarantee<StrayStatement>('strayStatement');
    expect([state, effects]).toEqual(['PARKED', 0]);
    expect(error).toContain('@OnMessage(asked.astray.write.v1) of astray.write');
    expect(error).toContain('outsideTransaction');
  });

  test('has its failing messages handled beside an application without their handler', async () => {
    const handled = { states: ['HANDLED'], alerts: [] };
    expect(await guarantee('differingInstances')).toEqual({ ofOneApp: handled, ofTwoApps: handled });
  });

  test('is alerted of a message without a consumer', async () => {
    const { alerts } = await guarantee<{ alerts: string[] }>('missingConsumer');
    expect(alerts).toEqual([expect.stringContaining('no consumer on queue dtx.gone.take.v1')]);
  });

  test('runs with rights on rows only, once its database is migrated', async () => {
    expect(await guarantee('rightsOnRows')).toEqual({ refused: 'ER_TABLEACCESS_DENIED_ERROR', state: 'HANDLED' });
  });

  test('runs with a broker account without "configure", once its queues are declared', async () => {
    const { state, error } = await guarantee<{ state: string; error: string }>('withoutConfigure');
    expect(state).toBe('HANDLED');
    expect(error).toContain('lacks the right "configure" on dtx.undeclared.take.v1');
  });

  test('keeps its own handlers, subscribers and repositories, and takes options from a provider', async () => {
    const subscribed = ['seed', 'existing'];
    const seenThere = await guarantee('existingService');
    expect(seenThere).toEqual({ sum: 3, events: [{ id: 7 }], subscribed, read: 1, state: 'HANDLED' });
  });

  test('answers over Express by the filter of the library, joins the trace of a request, and is healthy in Terminus', async () => {
    const { health, ...answers } = await guarantee<{ health: object }>('httpOverExpress');
    expect(answers).toEqual({ adapter: 'express', placed: 201, isTraced: true, refused: [409, 'OUT_OF_STOCK'] });
    expect(health).toMatchObject({ status: 'ok', details: { 'nest-dtx': { status: 'up' } } });
  });

  test('has a contract with a mistake refused when it is defined', async () => {
    expect(await guarantee('contractRefusals')).toEqual({
      name: expect.stringMatching(/^OptionsError: .*expected a name like/),
      version: expect.stringMatching(/^OptionsError: .*expected a version of 1, 2, /),
      schema: expect.stringMatching(/^OptionsError: .*is not a Standard Schema v1/),
      noConsumer: expect.stringMatching(/^OptionsError: .*no consumers; list at least one/),
      consumerTwice: expect.stringMatching(/^OptionsError: .*a consumer is listed twice/),
      consumerName: expect.stringMatching(/^OptionsError: .*consumer take is not <app>\.<consumer>/),
      reserved: expect.stringMatching(/^OptionsError: .*refused\.receipts would share a queue with the library/),
      ofAnother: expect.stringMatching(/^OptionsError: .*belongs to the contract asked\.refused\.twice/),
    });
  });
});

describe('the source of a stranger', () => {
  test.each(
    ['local-message', 'half-message', 'confirmed-publish', 'tcc', 'saga', 'xa', 'notification'].map((one) => [one]),
  )(`needs at most ${SCHEME_LINES_MAX} lines for %s`, (scheme) => {
    const lines = sourceOf(`${scheme}.ts`).split('\n');
    expect(lines.filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(SCHEME_LINES_MAX);
  });
});

describe('contracts', { timeout: LIMIT_MS }, () => {
  test('are made of schemas by zod 3.25, zod 4.0, zod 4, valibot and arktype, whose refusals name the field', async () => {
    const service = join(folder, 'contracts');
    cpSync(join(STACKS, 'contracts'), service, { recursive: true });
    mkdirSync(join(service, 'src'));
    cpSync(join(service, 'contracts.template'), join(service, 'src', 'contracts.ts'));
    await install(service);
    await typeCheck(service);
    const { stdout } = await inService(service, process.execPath, ['dist/contracts.js']);
    const { gids, refusals } = JSON.parse(stdout);
    expect(gids).toEqual(['1', '2', '3', '4', '5', '6']);
    const names = ['zod-three', 'zod-three-with-four', 'zod-four-zero', 'zod-four', 'valibot', 'arktype'];
    for (const [index, name] of names.entries())
      expect(refusals[index]).toContain(`payload does not fit order.${name} v1: lines.1.sku: `);
    expect(refusals).toHaveLength(names.length);
  });
});
