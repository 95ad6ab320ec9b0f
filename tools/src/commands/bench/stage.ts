// The servers, the shop and the naive shop of a bench, one process for each app.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { makePrivateDir, placeOf, ROOT } from '../../infra-files.js';
import { environmentOf } from '../../process/app-environment.js';
import { anyFreePort } from '../../process/app-ports.js';
import { startApp } from '../../process/app-process.js';
import { endProcess, endStrays, markFor, pidOf } from '../../process/detached-processes.js';
import { createSandbox, type Sandbox } from '../../sandbox/sandbox.js';
import { down, up } from '../../servers/index.js';
import { type App, DATABASES, perApp, type ServerUrls } from '../../servers/server-set.js';
import { untilReady } from '../../shop/app-calls.js';
import { AmqpProxy } from './amqp-publishes.js';
import { fill } from './goods-and-money.js';
import { ShopDatabases } from './shop-databases.js';
import { SqlProxy } from './sql-packets.js';

const NAME = 'bench';
const READY_BOUND_MS = 120_000;

export interface Shop {
  readonly sandbox: Sandbox;
  readonly databases: ShopDatabases;
  readonly urls: Record<App, string>;
  readonly pids: readonly number[];
  /** What passed the counting proxies so far. Null without them. */
  readonly traffic: Traffic | null;
  stop(): Promise<void>;
}

type Running = Pick<Shop, 'urls' | 'pids' | 'stop'>;

/** Proxies between the apps and their servers. */
export interface Traffic {
  readonly databases: Readonly<Record<App, SqlProxy>>;
  readonly broker: AmqpProxy;
}

export class Stage {
  private readonly dir = makePrivateDir(placeOf(NAME));
  private readonly running: Running[] = [];
  private servers: ServerUrls | undefined;

  constructor(private readonly say: Say) {}

  async start(): Promise<void> {
    await endStrays(join(this.dir, 'apps')); // of a run that was killed
    this.servers = await up(NAME, { say: this.say });
  }

  /** Pids of the local servers. Empty for servers in containers and given ones. */
  serverPids(kind: 'databases' | 'broker'): number[] {
    const servers = kind === 'databases' ? DATABASES : (['rabbitmq'] as const);
    const pids = servers.map((server) => pidOf(join(this.dir, server), server));
    return pids.every((pid) => pid !== null) ? (pids as number[]) : [];
  }

  /** Starts a fresh shop with goods and money. @param counting through proxies that count SQL commands */
  async open(kind: 'naive' | 'shop', { counting = false } = {}): Promise<Shop> {
    const sandbox = await createSandbox(this.servers!, `bench_${kind}${counting ? '_counted' : ''}`);
    const traffic = counting ? await proxiesOf(sandbox) : null;
    const seen = traffic ? throughProxies(sandbox, traffic) : sandbox;
    const apps = kind === 'naive' ? await this.startNaive(seen) : await this.startShop(seen);
    const running: Running = {
      urls: perApp((app) => apps[app].url),
      pids: DATABASES.map((app) => apps[app].pid),
      stop: async () => {
        await Promise.allSettled(DATABASES.map((app) => apps[app].stop()));
        const proxies = traffic ? [traffic.broker, ...Object.values(traffic.databases)] : [];
        await Promise.allSettled(proxies.map((proxy) => proxy.close()));
      },
    };
    this.running.push(running);
    await this.untilAllReady(running.urls, kind);
    await fill(sandbox);
    const databases = await ShopDatabases.open(sandbox);
    const stop = () => Promise.all([running.stop(), databases.close()]).then(() => {});
    return { ...running, sandbox, traffic, databases, stop };
  }

  private async startShop(sandbox: Sandbox) {
    const ports = await freePorts();
    const settings = {
      sandbox,
      token: randomBytes(24).toString('base64url'),
      notifySecret: `whsec_${randomBytes(24).toString('base64')}`,
      urls: perApp((app) => `http://127.0.0.1:${ports[app]}`),
    };
    return perApp((name) => {
      // Only purchases with a `notifyUrl` of their own notify.
      const env = { ...environmentOf(name, settings), DTX_NOTIFY_URL: undefined, ...markFor(join(this.dir, 'apps')) };
      return startApp({ name, port: ports[name], env, log: this.logOf('shop', name), onExit: () => {} });
    });
  }

  private async startNaive(sandbox: Sandbox) {
    const ports = await freePorts();
    return perApp((name) => {
      const out = openSync(this.logOf('naive', name), 'a', 0o600);
      const child = spawn(process.execPath, [join(ROOT, 'bench', 'dist', 'naive', 'main.js'), name], {
        detached: true,
        stdio: ['ignore', out, out],
        env: {
          ...process.env,
          DTX_DATABASE_URL: sandbox.databases[name],
          DTX_RABBITMQ_URL: sandbox.rabbitmq,
          PORT: String(ports[name]),
          ...markFor(join(this.dir, 'apps')),
        },
      });
      closeSync(out);
      const pid = child.pid!;
      return { url: `http://127.0.0.1:${ports[name]}`, pid, stop: () => endProcess(pid) };
    });
  }

  private logOf = (kind: string, app: App) => join(this.dir, `${kind}-${app}.log`);

  private async untilAllReady(urls: Record<App, string>, kind: string): Promise<void> {
    for (const app of DATABASES) {
      const why = await untilReady(urls[app], { boundMs: READY_BOUND_MS });
      if (why !== null) throw new OperatorError(`${app} of ${kind} is not ready: ${why}; see ${this.logOf(kind, app)}`);
    }
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.running.map((one) => one.stop()));
    await endStrays(join(this.dir, 'apps')); // apps whose start was interrupted
    await down(NAME, { say: this.say });
  }
}

async function freePorts(): Promise<Record<App, number>> {
  const ports = perApp(() => 0);
  for (const app of DATABASES) ports[app] = await anyFreePort();
  return ports;
}

async function proxiesOf({ databases, rabbitmq }: Sandbox): Promise<Traffic> {
  const [order, payment, inventory] = await Promise.all(DATABASES.map((app) => SqlProxy.start(databases[app])));
  return { databases: { order: order!, payment: payment!, inventory: inventory! }, broker: await AmqpProxy.start(rabbitmq) };
}

const throughProxies = (sandbox: Sandbox, { databases, broker }: Traffic): Sandbox => ({
  ...sandbox,
  databases: perApp((app) => databases[app].url),
  rabbitmq: broker.url,
});
