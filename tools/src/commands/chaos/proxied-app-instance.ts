// One instance of an app with a network of its own, started again whenever it has died.
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../../infra-files.js';
import { type AppSettings, environmentOf } from '../../process/app-environment.js';
import { type AppProcess, type AppStart, startApp } from '../../process/app-process.js';
import type { App } from '../../servers/server-set.js';
import { chaosOptions } from './app-options.js';
import { Operator } from './operator.js';
import type { NetworkPath } from './schedule.js';
import { TcpProxy } from './tcp-proxy.js';

const RESTART_MS = 300;
/** Shifts the wall clock of a process from its first line on. */
const WRONG_CLOCK = pathToFileURL(join(ROOT, 'test', 'fixtures', 'wrong-clock.mjs')).href;

interface InstancePlan {
  readonly app: App;
  readonly number: number;
  readonly port: number;
  readonly log: string;
  readonly settings: AppSettings;
  /** More environment, by which a lost process is found. */
  readonly mark: NodeJS.ProcessEnv;
}
type Proxies = Partial<Record<NetworkPath, TcpProxy>>;

export class Instance {
  readonly app: App;
  readonly number: number;
  readonly url: string;
  readonly #proxies: Proxies;
  readonly operator: Operator;
  readonly #options: Omit<AppStart, 'onExit'>;
  #process: AppProcess | null = null;
  #isClosing = false;
  #clockShiftMs = 0;
  /** Since when it has not been killed, stopped or cut off. Calls that began earlier prove nothing about it. */
  #wholeSince = 0;
  #isWhole = false;

  private constructor({ app, number, port, log, settings, mark }: InstancePlan, proxies: Proxies) {
    this.app = app;
    this.number = number;
    this.url = `http://127.0.0.1:${port}`;
    this.#proxies = proxies;
    this.operator = new Operator(this.url, settings.token);
    const env = environmentOf(app, settings);
    const options = { DTX_OPTIONS: chaosOptions(env.DTX_OPTIONS ?? process.env.DTX_OPTIONS) };
    this.#options = { name: app, port, env: { ...env, ...options, ...mark }, log };
  }

  static async make(plan: InstancePlan): Promise<Instance> {
    const { app, settings } = plan;
    const { sandbox } = settings;
    const proxies: Proxies = {
      database: await TcpProxy.start(sandbox.databases[app]),
      broker: await TcpProxy.start(sandbox.rabbitmq),
    };
    if (app === 'order') {
      proxies.redis = await TcpProxy.start(sandbox.redis);
      proxies.payment = await TcpProxy.start(sandbox.databases.payment);
      proxies.inventory = await TcpProxy.start(sandbox.databases.inventory);
    }
    // An app is not given the address of a server that it has no proxy for.
    const urlOf = (path: NetworkPath) => proxies[path]?.url ?? '';
    const databases = { order: '', payment: urlOf('payment'), inventory: urlOf('inventory'), [app]: urlOf('database') };
    const throughProxies = { ...sandbox, databases, rabbitmq: urlOf('broker'), redis: urlOf('redis') };
    return new Instance({ ...plan, settings: { ...settings, sandbox: throughProxies } }, proxies);
  }

  start(): void {
    if (this.#isClosing) return;
    const onExit = () => {
      this.#isWhole = false;
      if (!this.#isClosing) setTimeout(() => this.start(), RESTART_MS);
    };
    const env = { ...this.#options.env, ...clockEnvironment(this.#clockShiftMs) };
    this.#process = startApp({ ...this.#options, env, onExit });
    this.#become(true);
  }

  path(name: NetworkPath): TcpProxy {
    const proxy = this.#proxies[name];
    if (!proxy) throw new Error(`an instance of ${this.app} has no network path "${name}"`);
    return proxy;
  }

  /** Whether it has been whole since that moment (`performance.now()`). */
  wasWholeSince(moment: number): boolean {
    return this.#isWhole && this.#wholeSince <= moment;
  }

  async kill(): Promise<void> {
    this.#become(false);
    await this.#process?.kill();
  }

  /** A graceful stop. It starts itself again. */
  async restart(): Promise<void> {
    this.#become(false);
    await this.#process?.stop();
  }

  /** A graceful restart. From then on, and after every later death, its clock is wrong by that much. */
  async shiftClock(ms: number): Promise<void> {
    this.#clockShiftMs = ms;
    await this.restart();
  }

  /** Returns the pid of the stopped process, if there is one. */
  pause(): number | null {
    this.#become(false);
    return this.#signal('SIGSTOP');
  }

  /** Does nothing to a process that was killed meanwhile. */
  resume(pid: number | null): void {
    if (pid !== null && pid === this.#process?.pid) this.#signal('SIGCONT');
    this.#become(true);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#process?.stop();
    await Promise.all(Object.values(this.#proxies).map((proxy) => proxy.close()));
  }

  #become(isWhole: boolean): void {
    this.#isWhole = isWhole;
    this.#wholeSince = performance.now();
  }

  #signal(name: NodeJS.Signals): number | null {
    if (!this.#process || this.#process.exited) return null;
    const { pid } = this.#process;
    process.kill(pid, name);
    return pid;
  }
}

function clockEnvironment(shiftMs: number): NodeJS.ProcessEnv {
  return shiftMs === 0 ? {} : { NODE_OPTIONS: `--import=${WRONG_CLOCK}`, TEST_CLOCK_SHIFT_MS: String(shiftMs) };
}

/** Created before any start, so that a log that cannot be written is reported at once. */
export function emptyLog(path: string): string {
  openSync(path, 'w', 0o600);
  return path;
}
