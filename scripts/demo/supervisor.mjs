// Keeps the apps running: one that dies is started again, with a back-off, and everybody is told.
import { EventEmitter } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { secondsSince } from '../command/deadline.mjs';
import { OperatorError } from '../command/entry.mjs';
import { tailOf } from '../infra/processes.mjs';
import { startApp } from './app-process.mjs';
import { untilReady } from './http.mjs';

const READY_BOUND_MS = 60_000;
const BACK_OFF_MS = { first: 200, factor: 2, cap: 10_000 };
/** An app that ran for this long and died is not in a crash loop. */
const STEADY_AFTER_MS = 20_000;

/** Emits 'event' with { kind: 'died' | 'started' | 'ready', app, pid, how?, at }. */
export class Supervisor extends EventEmitter {
  #apps = new Map();
  #stopping = false;

  /**
   * @param {{ say: (line: string) => void, environmentOf: (name: string) => object, logOf: (name: string) => string,
   *   record: (apps: object[]) => void }} options `record` is told of every process in the turn that starts it
   */
  constructor(options) {
    super();
    this.options = options;
  }

  /** Starts every app and waits until all are ready. */
  async startAll(ports) {
    for (const [name, port] of Object.entries(ports)) {
      writeFileSync(this.options.logOf(name), '', { mode: 0o600 });
      this.#apps.set(name, { name, port, running: null, second: null, failures: 0, holdMs: 0 });
      this.#start(name);
    }
    await Promise.all([...this.#apps.keys()].map((name) => this.#untilReady(name, this.#app(name).running)));
  }

  get urls() {
    return Object.fromEntries([...this.#apps.values()].map(({ name, port }) => [name, `http://127.0.0.1:${port}`]));
  }

  /** Every living process, second instances too. */
  get processes() {
    return [...this.#apps.values()]
      .flatMap(({ running, second }) => [running, second])
      .filter((one) => one && !one.exited);
  }

  /**
   * Stops an app in good order and starts it with more environment, which holds for this one start only.
   * @param {{ env?: object, holdMs?: number }} options `holdMs`: if it dies, how long it stays dead, to look at the disk
   */
  async restart(name, { env = {}, holdMs = 0 } = {}) {
    const app = this.#app(name);
    const before = app.running;
    app.running = null; // its end is wanted now, and is no death
    await before?.stop();
    app.holdMs = holdMs;
    const started = this.#start(name, env);
    await this.#untilReady(name, started);
    return { pid: started.pid };
  }

  /** A second instance of an app beside the first, on a port of its own; it is not restarted. */
  async startSecond(name, port) {
    const app = this.#app(name);
    if (app.second && !app.second.exited) throw new OperatorError(`a second ${name} app is already running`);
    app.second = startApp({
      name,
      port,
      env: this.options.environmentOf(name),
      log: this.options.logOf(name),
      onExit: () => {},
    });
    this.options.record(this.processes);
    await this.#untilReady(name, app.second);
    return { pid: app.second.pid, url: app.second.url };
  }

  async stopSecond(name) {
    await this.#app(name).second?.stop();
    this.#app(name).second = null;
    this.options.record(this.processes);
  }

  /** kill -9 of the first instance; the supervisor then starts it again as after any other death. */
  async kill(name) {
    await this.#app(name).running?.kill();
  }

  async stopAll() {
    this.#stopping = true;
    await Promise.all(this.processes.map((one) => one.stop()));
    this.options.record([]);
  }

  #app(name) {
    const app = this.#apps.get(name);
    if (!app)
      throw new OperatorError(
        `there is no app ${JSON.stringify(name)}: there are ${[...this.#apps.keys()].join(', ')}`,
      );
    return app;
  }

  #start(name, more = {}) {
    if (this.#stopping) throw new OperatorError('the demo is stopping');
    const app = this.#app(name);
    const env = { ...this.options.environmentOf(name), ...more };
    const since = Date.now();
    const started = startApp({
      name,
      port: app.port,
      env,
      log: this.options.logOf(name),
      onExit: (how) => this.#onExit(app, started, { how, since }),
    });
    app.running = started;
    this.options.record(this.processes);
    this.#tell('started', name, started.pid);
    return started;
  }

  async #untilReady(name, started) {
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

  #logTail(name) {
    const log = this.options.logOf(name);
    return `the end of ${log}:\n${tailOf(log)}`;
  }

  #onExit(app, ended, { how, since }) {
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

  async #revive(app, ended, waitMs) {
    await sleep(waitMs);
    if (this.#stopping || app.running !== ended) return; // stopped, or restarted by hand meanwhile
    const since = Date.now();
    try {
      await this.#untilReady(app.name, this.#start(app.name));
      if (!this.#stopping) this.options.say(`the ${app.name} app is back after ${secondsSince(since)} s`);
    } catch (error) {
      this.options.say(error.message); // its exit is handled above; one that hangs is left for a person to look at
    }
  }

  #tell(kind, app, pid, more = {}) {
    this.emit('event', { kind, app, pid, at: Date.now(), ...more });
  }
}
