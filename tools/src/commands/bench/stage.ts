// The servers, the shop and the naive shop of a bench.
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { makePrivateDir, placeOf } from '../../infra-files.js';
import { endStrays, pidOf } from '../../process/detached-processes.js';
import { createSandbox, type Sandbox } from '../../sandbox/sandbox.js';
import { down, up } from '../../servers/index.js';
import { type App, DATABASES, perApp, type ServerUrls } from '../../servers/server-set.js';
import { versionsOf } from '../../servers/versions.js';
import { untilReady } from '../../shop/app-calls.js';
import { AmqpProxy } from './amqp-publishes.js';
import type { Kind } from './cases.js';
import { fill } from './goods-and-money.js';
import { ShopDatabases } from './shop-databases.js';
import { ShopProcesses } from './shop-processes.js';
import { SqlProxy } from './sql-packets.js';

const NAME = 'bench';
const READY_BOUND_MS = 120_000;

export interface Shop {
  readonly sandbox: Sandbox;
  readonly databases: ShopDatabases;
  readonly processes: ShopProcesses;
  readonly urls: Record<App, string>;
  /** What passed the counting proxies so far. Null without them. */
  readonly traffic: Traffic | null;
  stop(): Promise<void>;
}

/** Proxies between the apps and their servers. */
export interface Traffic {
  readonly databases: Readonly<Record<App, SqlProxy>>;
  readonly broker: AmqpProxy;
}

export class Stage {
  private readonly dir = makePrivateDir(placeOf(NAME));
  private readonly apps = join(this.dir, 'apps');
  private readonly stops: Array<() => Promise<void>> = [];
  private servers: ServerUrls | undefined;

  /** @param given servers that run already, and stay. By default the stage has servers of its own. */
  constructor(
    private readonly say: Say,
    private readonly given?: ServerUrls,
  ) {}

  async start(): Promise<void> {
    await endStrays(this.apps); // of a run that was killed
    this.servers = this.given ?? (await up(NAME, { say: this.say }));
  }

  /** Pids of the local servers. Empty for servers in containers and given ones. */
  serverPids(kind: 'databases' | 'broker'): number[] {
    const servers = kind === 'databases' ? DATABASES : (['rabbitmq'] as const);
    const pids = servers.map((server) => pidOf(join(this.dir, server), server));
    return pids.every((pid) => pid !== null) ? (pids as number[]) : [];
  }

  /** Starts a fresh shop with goods and money. @param counting through proxies that count SQL commands */
  async open(kind: Kind, { counting = false } = {}): Promise<Shop> {
    const sandbox = await createSandbox(
      this.servers!,
      `bench_${kind.replaceAll('-', '_')}${counting ? '_counted' : ''}`,
    );
    const traffic = counting ? await proxiesOf(sandbox) : null;
    const logOf = (app: string) => join(this.dir, `${kind}-${app}.log`);
    const processes = await ShopProcesses.start(kind, {
      sandbox: traffic ? throughProxies(sandbox, traffic) : sandbox,
      marked: this.apps,
      logOf,
      dataDir: join(this.dir, `${kind}-data`),
    });
    this.stops.push(() => processes.stop());
    const { urls } = processes;
    for (const app of DATABASES) {
      const why = await untilReady(urls[app], { boundMs: READY_BOUND_MS });
      if (why !== null) throw new OperatorError(`${app} of the ${kind} is not ready: ${why}; see ${logOf(app)}`);
    }
    await fill(sandbox, kind);
    const databases = await ShopDatabases.open(sandbox);
    const stop = async () => {
      await processes.stop();
      await databases.close();
      const proxies = traffic ? [traffic.broker, ...Object.values(traffic.databases)] : [];
      await Promise.all(proxies.map((proxy) => proxy.close()));
    };
    return { sandbox, databases, processes, urls, traffic, stop };
  }

  /** The versions of a database server and the broker, for the report. */
  async versions(): Promise<{ database: string; broker: string }> {
    return versionsOf(this.servers!);
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.stops.map((stop) => stop()));
    await endStrays(this.apps); // apps whose start was interrupted
    if (!this.given) await down(NAME, { say: this.say });
  }
}

async function proxiesOf({ databases, rabbitmq }: Sandbox): Promise<Traffic> {
  const [order, payment, inventory] = await Promise.all(DATABASES.map((app) => SqlProxy.start(databases[app])));
  return {
    databases: { order: order!, payment: payment!, inventory: inventory! },
    broker: await AmqpProxy.start(rabbitmq),
  };
}

const throughProxies = (sandbox: Sandbox, { databases, broker }: Traffic): Sandbox => ({
  ...sandbox,
  databases: perApp((app) => databases[app].url),
  rabbitmq: broker.url,
});
