// One run: servers, instances, clients, the nemeses in their time, then rest and judgement.
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until, withProgress } from '../command/deadline.mjs';
import { OperatorError } from '../command/entry.mjs';
import { expectOk, untilAnswered, untilReady } from '../demo/http.mjs';
import { anyFreePort } from '../demo/ports.mjs';
import { control, down, up } from '../infra/index.mjs';
import { DATABASES, makePrivateDir, placeOf, writeJson } from '../infra/place.mjs';
import { endStrays, markFor } from '../infra/processes.mjs';
import { judge } from './checker.mjs';
import { buyer, Clients, sku } from './clients.mjs';
import { emptyLog, Instance } from './instance.mjs';
import { NEMESES } from './nemeses.mjs';
import { lineOf, scheduleOf } from './schedule.mjs';
import { databaseServers } from './servers.mjs';

const NAME = 'chaos';
const READY_BOUND_MS = 120_000;
/** What was broken last has its leases, resends and backoffs to run out. */
const SETTLE_MS = 180_000;
const BUYERS = 8;
const RICH_CENTS = 1_000_000_000;
const FULL = 100_000;

export class ChaosRun {
  #dir = makePrivateDir(placeOf(NAME));
  #instances = [];
  #databases = {};
  #control = {};
  #clients = null;
  #world = null;
  /** Nemeses that are at work now, by the number of their step: how to end each. */
  #running = new Map();

  constructor({ say, signal, seed, minutes, instances, callers }) {
    setMaxListeners(0, signal); // every step that waits listens to it
    Object.assign(this, { say, signal, seed, minutes, count: instances, callers });
  }

  async start() {
    const { say, signal } = this;
    await endStrays(join(this.#dir, 'apps')); // of a run that was killed
    const servers = await up(NAME, { say });
    signal.throwIfAborted();
    const { createWorld } = await import('../infra/world.mjs');
    const world = await createWorld(servers, NAME, { fresh: true });
    this.#control = control(NAME);
    this.#databases = databaseServers(servers, world, this.#control);
    this.#world = world;
    const accounts = {};
    for (const app of DATABASES) {
      await this.#databases[app].setReadOnly(false); // a run that was killed may have left it so
      accounts[app] = await this.#databases[app].makeAccount();
    }
    signal.throwIfAborted();
    await this.#startInstances({ ...world, databases: accounts });
    await this.#openShop();
  }

  async #startInstances(world) {
    const ports = Object.fromEntries(DATABASES.map((app) => [app, []]));
    for (const app of DATABASES) for (let n = 0; n < this.count; n++) ports[app].push(await anyFreePort());
    const mark = markFor(join(this.#dir, 'apps'));
    const common = {
      world,
      token: randomBytes(24).toString('base64url'),
      notifySecret: `whsec_${randomBytes(24).toString('base64')}`,
      urls: Object.fromEntries(DATABASES.map((app) => [app, `http://127.0.0.1:${ports[app][0]}`])),
    };
    for (const app of DATABASES) {
      for (const [n, port] of ports[app].entries()) {
        const log = emptyLog(join(this.#dir, `${app}-${n + 1}.log`));
        this.#instances.push(await Instance.make({ app, number: n, port, log, common, mark }));
      }
    }
    for (const instance of this.#instances) instance.start();
    await this.#untilAllReady();
    this.say(`${this.count} instances of each app are ready, each with a network of its own; logs in ${this.#dir}`);
  }

  async #untilAllReady() {
    const failures = await Promise.all(this.#instances.map(({ url }) => untilReady(url, { boundMs: READY_BOUND_MS })));
    const not = failures.flatMap((why, n) =>
      why === null ? [] : [`${this.#instances[n].app} ${this.#instances[n].number + 1}: ${why}`],
    );
    if (not.length > 0) throw new OperatorError(`not ready within ${READY_BOUND_MS / 1_000} s: ${not.join('; ')}`);
  }

  async #openShop() {
    const { payment, inventory } = this.#byApp();
    await expectOk('PUT', `${payment[0].url}/accounts/poor`, { body: { balance: 1 } });
    for (let n = 0; n < BUYERS; n++) {
      await expectOk('PUT', `${payment[0].url}/accounts/${buyer(n)}`, { body: { balance: RICH_CENTS } });
      await expectOk('PUT', `${inventory[0].url}/stock/${sku(n)}`, { body: { available: FULL } });
    }
  }

  #byApp() {
    return Object.fromEntries(DATABASES.map((app) => [app, this.#instances.filter((one) => one.app === app)]));
  }

  /** Breaks things while clients buy. */
  async breakThings() {
    const { seed, minutes, count, say } = this;
    const can = ({ on, needsControl }) =>
      !needsControl || this.#control[on === 'broker' ? 'rabbitmq' : 'order'].supported;
    const left = NEMESES.filter((nemesis) => !can(nemesis)).map(({ name }) => name);
    if (left.length > 0) say(`left out, since these servers are not run by this command: ${left.join(', ')}`);
    const schedule = scheduleOf({ seed, minutes, instances: count, can });
    writeJson(join(this.#dir, `schedule-${seed}.json`), schedule);
    this.#clients = new Clients({ instances: this.#byApp(), callers: this.callers, readers: 6 });
    const since = performance.now();
    const steps = schedule.map((step) => this.#play(step, since));
    await Promise.all(steps);
    await this.#sleepUntil(since + minutes * 60_000);
    return schedule.length;
  }

  async #play(step, since) {
    await this.#sleepUntil(since + step.atMs);
    if (this.signal.aborted) return;
    this.say(lineOf(step));
    const nemesis = NEMESES.find(({ name }) => name === step.nemesis);
    const target = this.#find(nemesis, step.target);
    // What cannot be begun (its server is frozen by another step) is left out: it is one accident less.
    const begun = await nemesis.begin(target).catch((error) => this.#leaveOut(step, error));
    this.#running.set(step.n, () => this.#end(nemesis, target, begun));
    await this.#sleepUntil(since + step.atMs + step.lastsMs);
    await this.#running.get(step.n)?.();
    this.#running.delete(step.n);
  }

  #leaveOut({ nemesis }, error) {
    this.say(`        ${nemesis}: could not be begun (${error.message})`);
    return undefined;
  }

  #find({ on }, { app, instance, path }) {
    if (on === 'broker') return { server: this.#control.rabbitmq };
    if (on === 'database') return this.#databases[app];
    const found = this.#byApp()[app][instance];
    return on === 'path' ? found.path(path) : found;
  }

  /** Must succeed, else the run could not come to rest: the server may be frozen by another step for a while. */
  async #end(nemesis, target, begun) {
    let last;
    const isEnded = () =>
      nemesis.end(target, begun).then(
        () => true,
        (error) => {
          last = error;
          return false;
        },
      );
    if (!(await until(isEnded, { boundMs: 60_000, everyMs: 500 })))
      throw new OperatorError(`"${nemesis.name}" could not be ended: ${last.message}`);
  }

  async #sleepUntil(moment) {
    const ms = moment - performance.now();
    if (ms > 0) await sleep(ms, undefined, { signal: this.signal }).catch(() => {});
  }

  /** Everything is whole again; every client gets its answer; the world comes to rest. */
  async judge() {
    const { say } = this;
    const what = 'coming to rest';
    return withProgress(
      async () => {
        await this.#clients.stop({ boundMs: 60_000 });
        await this.#untilAllReady();
        await this.#clients.replay();
        await this.#untilReadable();
        return { ...(await judge(this.#world, this.#clients, { settleMs: SETTLE_MS })), routes: this.#clients.routes };
      },
      { say, what },
    );
  }

  async #untilReadable() {
    const url = `${this.#byApp().order[0].url}/orders?limit=1`;
    if (!(await untilAnswered('GET', url, { boundMs: 30_000 }))) throw new OperatorError('no orders can be read');
  }

  /** In the order in which they need each other; each whatever happens to the rest. */
  async stop() {
    for (const end of this.#running.values()) await end().catch(() => {});
    await Promise.allSettled(this.#instances.map((instance) => instance.close()));
    await down(NAME, { say: this.say });
  }
}
