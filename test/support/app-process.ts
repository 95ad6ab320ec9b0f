import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './until.js';
import type { AppName, World } from './world.js';

export const ROOT = join(import.meta.dirname, '..', '..');
export const ADMIN_TOKEN = 'test-admin-token';

export interface AppOptions {
  readonly world: World;
  /** Tells instances of one app apart in file names. */
  readonly label?: string;
  readonly env?: Record<string, string>;
  /** `DTX_OPTIONS`: short times, so that a test need not wait. */
  readonly options?: Record<string, unknown>;
  /** `DTX_FAILPOINTS` */
  readonly failpoints?: string;
  /** Folder of the build to run; a mutant is a copy of it. */
  readonly root?: string;
}

let count = 0;

/** One real instance of an app, from the build, on a free port. */
export class AppProcess {
  url = '';
  readonly logFile: string;
  readonly hitFile: string;
  private constructor(
    readonly app: AppName,
    readonly child: ChildProcess,
    files: { log: string; hits: string },
  ) {
    this.logFile = files.log;
    this.hitFile = files.hits;
  }

  static async start(app: AppName, options: AppOptions): Promise<AppProcess> {
    const started = AppProcess.spawn(app, options);
    await started.untilListening();
    return started;
  }

  /** Starts it without waiting, for one that is not to come up. */
  static spawn(app: AppName, options: AppOptions): AppProcess {
    const folder = join(ROOT, '.infra', 'test', 'logs', options.world.name);
    mkdirSync(folder, { recursive: true });
    const name = join(folder, `${app}-${options.label ?? ++count}`);
    const files = { log: `${name}.log`, hits: `${name}.hits` };
    for (const file of Object.values(files)) rmSync(file, { force: true });
    const out = openSync(files.log, 'a');
    const main = join(options.root ?? ROOT, 'apps', app, 'dist', 'main.js');
    const child = spawn(process.execPath, [main], {
      cwd: options.root ?? ROOT,
      stdio: ['ignore', out, out],
      env: environment(app, options, files.hits),
    });
    return new AppProcess(app, child, files);
  }

  get exited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** Failpoints that this process has reached, in order. */
  hits(): string[] {
    if (!statSync(this.hitFile, { throwIfNoEntry: false })) return [];
    const lines = readFileSync(this.hitFile, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line).name);
  }

  async untilListening(): Promise<void> {
    const address = await until(
      `${this.app} listens`,
      () => /listening on (http:\S+)/.exec(this.log())?.[1] ?? (this.exited ? 'ended' : false),
      { withinMs: 60_000 },
    );
    if (address === 'ended') throw new Error(`${this.app} ended instead of listening: ${this.log().slice(-2_000)}`);
    this.url = address;
    await until(`${this.app} is ready`, async () => (await fetch(`${this.url}/health/live`)).ok, { withinMs: 30_000 });
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async untilExited(withinMs = 60_000): Promise<void> {
    await until(`${this.app} ends`, () => this.exited, { withinMs, everyMs: 10 });
  }

  async kill(): Promise<void> {
    if (this.exited) return;
    this.child.kill('SIGKILL');
    await this.untilExited();
  }

  /** The polite stop of an operator. */
  async stop(): Promise<void> {
    if (this.exited) return;
    this.child.kill('SIGTERM');
    this.child.kill('SIGCONT');
    await this.untilExited();
  }
}

function environment(app: AppName, { world, env, options, failpoints }: AppOptions, hits: string): NodeJS.ProcessEnv {
  const base = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^(DTX_|VITEST|NODE_ENV|NODE_OPTIONS|PORT$|HOST$)/.test(key)),
  );
  return {
    ...base,
    PORT: '0',
    DTX_DATABASE_URL: world.databases[app],
    DTX_RABBITMQ_URL: world.rabbitmq,
    DTX_REDIS_URL: world.redis,
    DTX_XA_PAYMENT_DATABASE_URL: world.databases.payment,
    DTX_XA_INVENTORY_DATABASE_URL: world.databases.inventory,
    DTX_ADMIN_TOKEN: ADMIN_TOKEN,
    DTX_FAILPOINT_LOG: hits,
    ...(options ? { DTX_OPTIONS: JSON.stringify(options) } : {}),
    ...(failpoints ? { DTX_FAILPOINTS: failpoints } : {}),
    ...env,
  };
}
