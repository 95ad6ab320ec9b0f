// The three processes of the shop, of the naive or bare shop, or of a peer.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../infra-files.js';
import { environmentOf } from '../../process/app-environment.js';
import { anyFreePort } from '../../process/app-ports.js';
import { startApp } from '../../process/app-process.js';
import { endProcess, killProcess, markFor } from '../../process/detached-processes.js';
import { NODE_FLAGS } from '../../process/node-flags.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { type App, DATABASES, perApp } from '../../servers/server-set.js';
import { isOurs, type Kind } from './cases.js';
import { mainOf } from './peers/peer-package.js';
import { RestateServer } from './peers/restate-server.js';

interface Started {
  readonly pid: number;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

interface Options {
  readonly sandbox: Sandbox;
  /** All processes are found again by this folder. */
  readonly marked: string;
  readonly logOf: (process: string) => string;
  /** For a server that belongs to this kind alone. Its files of an earlier run are removed. */
  readonly dataDir: string;
}

export class ShopProcesses {
  private readonly running = new Map<App, Started>();

  private constructor(
    private readonly startOne: (app: App, port: number) => Started,
    private readonly ports: Record<App, number>,
    private readonly server: RestateServer | null,
  ) {}

  static async start(kind: Kind, options: Options): Promise<ShopProcesses> {
    const ports = perApp(() => 0);
    for (const app of DATABASES) ports[app] = await anyFreePort();
    const server = kind === 'restate-saga' ? await RestateServer.start(options) : null;
    const startOne = isOurs(kind)
      ? shopStart(options, ports, kind === 'classic')
      : plainStart(MAINS[kind], {
          options,
          env: { ...server?.env, NAIVE_NO_DELAY: kind === 'naive-no-delay' ? '1' : '0' },
        });
    const processes = new ShopProcesses(startOne, ports, server);
    for (const app of DATABASES) processes.start(app);
    return processes;
  }

  get urls(): Record<App, string> {
    return urlsOf(this.ports);
  }

  /** In the order of `DATABASES`. */
  get pids(): number[] {
    return DATABASES.map((app) => this.running.get(app)!.pid);
  }

  /** Of the server that belongs to this shop alone. */
  get serverPids(): number[] {
    return this.server ? [this.server.pid] : [];
  }

  /** Where purchases begin if not at an app. */
  get entry(): string | null {
    return this.server?.ingress ?? null;
  }

  start(app: App): void {
    this.running.set(app, this.startOne(app, this.ports[app]));
  }

  /** kill -9. */
  async kill(app: App): Promise<void> {
    await this.running.get(app)!.kill();
  }

  async stop(): Promise<void> {
    await Promise.allSettled([...this.running.values()].map((one) => one.stop()));
    await this.server?.stop();
  }
}

const urlsOf = (ports: Record<App, number>) => perApp((app) => `http://127.0.0.1:${ports[app]}`);

function shopStart({ sandbox, marked, logOf }: Options, ports: Record<App, number>, isClassic: boolean) {
  const settings = {
    sandbox,
    token: randomBytes(24).toString('base64url'),
    notifySecret: `whsec_${randomBytes(24).toString('base64')}`,
    urls: urlsOf(ports),
  };
  return (name: App, port: number): Started => {
    // Only purchases with a `notifyUrl` of their own notify.
    const given = environmentOf(name, settings);
    const DTX_OPTIONS = optionsOf(given.DTX_OPTIONS, isClassic);
    const env = { ...given, DTX_OPTIONS, DTX_NOTIFY_URL: undefined, ...NO_EXPIRY, ...markFor(marked) };
    return startApp({ name, port, env, log: logOf(name), onExit: () => {} });
  };
}

/** A purchase alone is measured, as the peers make it. With this variable set, an order has a delayed message too. */
const NO_EXPIRY = { DTX_ORDER_EXPIRY_MS: process.env.DTX_ORDER_EXPIRY_MS ?? '0' };

function optionsOf(given = '{}', isClassic: boolean): string {
  const { core, notify, ...others } = JSON.parse(given);
  const queues = isClassic ? { queues: 'classic' } : {};
  return JSON.stringify({
    ...others,
    core: { ...core, ...queues },
    notify: { ...notify, serviceHasDefaultTarget: false },
  });
}

const NAIVE = join(ROOT, 'bench', 'dist', 'naive', 'main.js');
const MAINS = {
  naive: NAIVE,
  'naive-no-delay': NAIVE,
  bare: join(ROOT, 'bench', 'dist', 'bare', 'main.js'),
  'nestjs-outbox': mainOf('nestjs-outbox'),
  'restate-saga': mainOf('restate-saga'),
} as const satisfies Record<Exclude<Kind, 'shop' | 'classic'>, string>;

interface Plain {
  readonly options: Options;
  readonly env: NodeJS.ProcessEnv;
}

function plainStart(main: string, { options: { sandbox, marked, logOf }, env }: Plain) {
  return (name: App, port: number): Started => {
    const out = openSync(logOf(name), 'a', 0o600);
    const child = spawn(process.execPath, [...NODE_FLAGS, main, name], {
      detached: true,
      stdio: ['ignore', out, out],
      env: {
        ...process.env,
        ...env,
        DTX_DATABASE_URL: sandbox.databases[name],
        DTX_RABBITMQ_URL: sandbox.rabbitmq,
        PORT: String(port),
        ...markFor(marked),
      },
    });
    closeSync(out);
    const pid = child.pid!;
    return { pid, stop: () => endProcess(pid), kill: () => killProcess(pid) };
  };
}
