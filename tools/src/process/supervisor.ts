// Keeps the apps running: an app that dies is started again after a back-off. Listeners get an event for each change.

import { EventEmitter } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { secondsSince } from '../cli/waits-and-progress.js';
import { type App, DATABASES } from '../servers/server-set.js';
import { untilReady } from '../shop/app-calls.js';
import { type AppProcess, startApp } from './app-process.js';
import { tailOf } from './detached-processes.js';

const READY_BOUND_MS = 60_000;
const BACK_OFF_MS = { first: 200, factor: 2, cap: 10_000 };
/** An app that died after this long is not in a crash loop. */
const STEADY_AFTER_MS = 20_000;

export interface AppEvent {
  readonly kind: 'died' | 'started' | 'ready';
  readonly app: App;
  readonly pid: number;
  readonly at: number;
  /** How it died. */
  readonly how?: string;
  readonly seconds?: string;
}

interface SupervisedApp {
  readonly name: App;
  readonly port: number;
  running: AppProcess | null;
  second: AppProcess | null;
  failures: number;
  /** If it dies, how long it stays dead. */
  holdMs: number;
}

export interface SupervisorOptions {
  readonly say: Say;
  readonly environmentOf: (app: App) => NodeJS.ProcessEnv;
  readonly logOf: (app: App) => string;
  /** Called in the turn that starts a process, so that every process is on record. */
  readonly record: () => void;
}

export class Supervisor extends EventEmitter<{ event: [AppEvent] }> {
  #apps = new Map<App, SupervisedApp>();
  #stopping = false;

  constructor(private readonly options: SupervisorOptions) {
    super();
  }

  /** Starts every app and waits until all are ready. */
  async startAll(ports: Record<App, number>): Promise<void> {
    for (const name of DATABASES) {
      writeFileSync(this.options.logOf(name), '', { mode: 0o600 });
      this.#apps.set(name, { name, port: ports[name], running: null, second: null, failures: 0, holdMs: 0 });
      this.#start(name);
    }
    await Promise.all(DATABASES.map((name) => this.#untilReady(name, this.#app(name).running!)));
  }

  get urls(): Record<App, string> {
    const urls = [...this.#apps.values()].map(({ name, port }) => [name, `http://127.0.0.1:${port}`]);
    return Object.fromEntries(urls) as Record<App, string>;
  }

  /** Every living process, second instances too. */
  get processes(): AppProcess[] {
    return [...this.#apps.values()]
      .flatMap(({ running, second }) => [running, second])
      .filter((one) => one !== null)
      .filter(({ exited }) => !exited);
  }

  /**
   * Stops an app in good order and starts it with more environment, for this start only. If it dies, it stays dead for
   * `holdMs`, to look at the disk.
   */
  async restart(
    name: App,
    { env = {}, holdMs = 0 }: { env?: NodeJS.ProcessEnv; holdMs?: number } = {},
  ): Promise<{ pid: number }> {
    const app = this.#app(name);
    const before = app.running;
    app.running = null; // its end is wanted and does not count as a death
    await before?.stop();
    app.holdMs = holdMs;
    const started = this.#start(name, env);
    await this.#untilReady(name, started);
    return { pid: started.pid };
  }

  /** Starts a second instance on another port. It is not restarted. */
  async startSecond(name: App, port: number): Promise<{ pid: number; url: string }> {
    const app = this.#app(name);
    if (app.second && !app.second.exited)
      throw new OperatorError(
        `a second ${name} app is already running; wait for npm run break to end, or restart the demo`,
      );
    app.second = startApp({
      name,
      port,
      env: this.options.environmentOf(name),
      log: this.options.logOf(name),
      onExit: () => {},
    });
    this.options.record();
    await this.#untilReady(name, app.second);
    return { pid: app.second.pid, url: app.second.url };
  }

  async stopSecond(name: App): Promise<void> {
    await this.#app(name).second?.stop();
    this.#app(name).second = null;
    this.options.record();
  }

  /** kill -9 of the first instance. The supervisor starts it again as after any other death. */
  async kill(name: App): Promise<void> {
    await this.#app(name).running?.kill();
  }

  async stopAll(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.processes.map((one) => one.stop()));
    this.options.record();
  }

  #app(name: App): SupervisedApp {
    const app = this.#apps.get(name);
    if (!app)
      throw new OperatorError(`unknown app ${JSON.stringify(name)}; known: ${[...this.#apps.keys()].join(', ')}`);
    return app;
  }

  #start(name: App, more: NodeJS.ProcessEnv = {}): AppProcess {
    if (this.#stopping) throw new OperatorError('the demo is stopping');
    const app = this.#app(name);
    const env = { ...this.options.environmentOf(name), ...more };
    const since = Date.now();
    const started: AppProcess = startApp({
      name,
      port: app.port,
      env,
      log: this.options.logOf(name),
      onExit: (how) => this.#onExit(app, started, { how, since }),
    });
    app.running = started;
    this.options.record();
    this.#tell('started', name, started.pid);
    return started;
  }

  async #untilReady(name: App, started: AppProcess): Promise<void> {
    const since = Date.now();
    const failure = await Promise.race([
      untilReady(started.url, { boundMs: READY_BOUND_MS }),
      started.ended.then(() => `it ended (${started.exited})`),
    ]);
    if (failure && !this.#stopping)
      throw new OperatorError(`${this.#logTail(name)}\nthe ${name} app did not become ready: ${failure}`);
    if (failure) return;
    this.#tell('ready', name, started.pid, { seconds: secondsSince(since) });
  }

  #logTail(name: App): string {
    const log = this.options.logOf(name);
    return `the end of ${log}:\n${tailOf(log)}`;
  }

  #onExit(app: SupervisedApp, ended: AppProcess, { how, since }: { how: string; since: number }): void {
    if (this.#stopping || app.running !== ended) return;
    app.failures = Date.now() - since > STEADY_AFTER_MS ? 0 : app.failures + 1;
    const backOffMs = Math.min(
      BACK_OFF_MS.first * BACK_OFF_MS.factor ** Math.max(0, app.failures - 1),
      BACK_OFF_MS.cap,
    );
    const waitMs = Math.max(backOffMs, app.holdMs);
    app.holdMs = 0;
    this.options.say(`the ${app.name} app died (${how}): starting it again in ${waitMs / 1000} s`);
    this.#tell('died', app.name, ended.pid, { how });
    void this.#revive(app, ended, waitMs);
  }

  async #revive(app: SupervisedApp, ended: AppProcess, waitMs: number): Promise<void> {
    await sleep(waitMs);
    if (this.#stopping || app.running !== ended) return; // stopped, or restarted by hand meanwhile
    const since = Date.now();
    try {
      await this.#untilReady(app.name, this.#start(app.name));
      if (!this.#stopping) this.options.say(`the ${app.name} app is back after ${secondsSince(since)} s`);
    } catch (error) {
      this.options.say(messageOf(error)); // its exit is handled above; an app that hangs is left to the operator
    }
  }

  #tell(kind: AppEvent['kind'], app: App, pid: number, more: { how?: string; seconds?: string } = {}): void {
    this.emit('event', { kind, app, pid, at: Date.now(), ...more });
  }
}
