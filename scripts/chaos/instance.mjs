// One instance of an app with a network of its own, started again whenever it has died.
import { openSync } from 'node:fs';
import { startApp } from '../demo/app-process.mjs';
import { environmentOf } from '../demo/environment.mjs';
import { TcpProxy } from './proxy.mjs';

const RESTART_MS = 300;

export class Instance {
  #proxies;
  #options;
  #process = null;
  #isClosing = false;
  /** When it was last whole: not killed, stopped or cut off. A call that began before that says nothing of it. */
  #wholeSince = 0;
  #isWhole = false;

  constructor({ app, number, port, proxies, environment, log }) {
    this.app = app;
    this.number = number;
    this.url = `http://127.0.0.1:${port}`;
    this.#proxies = proxies;
    this.#options = { name: app, port, env: environment, log };
  }

  /** @param {{ world: object, token: string, notifySecret: string, urls: object }} common as of the demo */
  static async make({ app, number, port, log, common, mark }) {
    const { world } = common;
    const targets = {
      database: world.databases[app],
      broker: world.rabbitmq,
      ...(app === 'order'
        ? { redis: world.redis, payment: world.databases.payment, inventory: world.databases.inventory }
        : {}),
    };
    const proxies = {};
    for (const [path, url] of Object.entries(targets)) proxies[path] = await TcpProxy.start(url);
    const urlOf = (path) => proxies[path]?.url;
    const throughProxies = {
      ...world,
      databases: { payment: urlOf('payment'), inventory: urlOf('inventory'), [app]: urlOf('database') },
      rabbitmq: urlOf('broker'),
      redis: urlOf('redis'),
    };
    const environment = { ...environmentOf(app, { ...common, world: throughProxies }), ...mark };
    return new Instance({ app, number, port, proxies, environment, log });
  }

  start() {
    if (this.#isClosing) return;
    const onExit = () => {
      this.#isWhole = false;
      if (!this.#isClosing) setTimeout(() => this.start(), RESTART_MS);
    };
    this.#process = startApp({ ...this.#options, onExit });
    this.#become(true);
  }

  path(name) {
    return this.#proxies[name];
  }

  /** Whether it has been whole since that moment (`performance.now()`). */
  wasWholeSince(moment) {
    return this.#isWhole && this.#wholeSince <= moment;
  }

  async kill() {
    this.#become(false);
    await this.#process?.kill();
  }

  async pause() {
    this.#become(false);
    return this.#signal('SIGSTOP');
  }

  /** Nothing to do for one that was killed meanwhile. */
  async resume(pid) {
    if (pid === this.#process?.pid) this.#signal('SIGCONT');
    this.#become(true);
  }

  async close() {
    this.#isClosing = true;
    await this.#process?.stop();
    await Promise.all(Object.values(this.#proxies).map((proxy) => proxy.close()));
  }

  #become(isWhole) {
    this.#isWhole = isWhole;
    this.#wholeSince = performance.now();
  }

  #signal(name) {
    const { pid, exited } = this.#process ?? {};
    if (!pid || exited) return null;
    process.kill(pid, name);
    return pid;
  }
}

/** Made before anything is started, so that a log that cannot be written is told at once. */
export function emptyLog(path) {
  openSync(path, 'w', 0o600);
  return path;
}
