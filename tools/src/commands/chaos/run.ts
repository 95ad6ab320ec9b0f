// One run: servers, instances, clients, the nemeses on schedule, then rest and judgement.
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { until, withProgress } from '../../cli/waits-and-progress.js';
import { makePrivateDir, placeOf, writeJson } from '../../infra-files.js';
import { anyFreePort } from '../../process/app-ports.js';
import { endStrays, markFor } from '../../process/detached-processes.js';
import { createSandbox, type Sandbox } from '../../sandbox/sandbox.js';
import { control, down, up } from '../../servers/index.js';
import { type App, DATABASES, perApp, type Server, type ServerControl } from '../../servers/server-set.js';
import { expectOk, untilAnswered, untilReady } from '../../shop/app-calls.js';
import { type Judgement, judge } from './answer-checker.js';
import { type DatabaseServer, databaseServers } from './breakable-database-servers.js';
import { SCRATCH_SKU } from './canary.js';
import { buyer, Clients, type RouteFigures, sku } from './clients.js';
import { evidenceOf } from './evidence.js';
import type { Evidence } from './history.js';
import { type Fault, NEMESES, type Nemesis, nemesisOf } from './nemeses.js';
import { emptyLog, Instance } from './proxied-app-instance.js';
import { lineOf, type Step, scheduleOf, type Target } from './schedule.js';

const NAME = 'chaos';
const READY_BOUND_MS = 120_000;
/** Leases, resends and backoffs of the last faults have to run out. */
const SETTLE_MS = 180_000;
const BUYERS = 8;
const RICH_CENTS = 1_000_000_000;
const FULL = 100_000;

export interface ChaosOptions {
  readonly say: Say;
  readonly signal: AbortSignal;
  readonly seed: number;
  readonly minutes: number;
  readonly instances: number;
  readonly callers: number;
}

/** Exists once the servers are up. */
interface Stage {
  readonly sandbox: Sandbox;
  readonly control: Record<Server, ServerControl>;
  readonly databases: Record<App, DatabaseServer>;
}

/** All that a run has found. */
export type Verdict = Judgement & { readonly evidence: Evidence; readonly routes: ReadonlyMap<string, RouteFigures> };

export class ChaosRun {
  readonly #dir = makePrivateDir(placeOf(NAME));
  readonly #instances: Instance[] = [];
  #stage: Stage | null = null;
  #clients: Clients | null = null;
  /** Uses by the name of the nemesis. */
  readonly #begun: Record<string, number> = {};
  /** How to end each fault that is at work, by the number of its step. */
  readonly #running = new Map<number, () => Promise<void>>();

  constructor(private readonly options: ChaosOptions) {
    setMaxListeners(0, options.signal); // every waiting step listens to it
  }

  get #started(): Stage {
    if (!this.#stage) throw new Error('the run has no servers yet');
    return this.#stage;
  }

  async start(): Promise<void> {
    const { say, signal } = this.options;
    await endStrays(join(this.#dir, 'apps')); // of a run that was killed
    const servers = await up(NAME, { say });
    signal.throwIfAborted();
    const sandbox = await createSandbox(servers, NAME, { fresh: true });
    const controls = control(NAME);
    const databases = databaseServers(servers, sandbox, controls);
    this.#stage = { sandbox, control: controls, databases };
    const accounts = { ...sandbox.databases };
    for (const app of DATABASES) {
      await databases[app].setReadOnly(false); // a run that was killed may have left it so
      accounts[app] = await databases[app].makeAccount();
    }
    signal.throwIfAborted();
    await this.#startInstances({ ...sandbox, databases: accounts });
    await this.#openShop();
  }

  async #startInstances(sandbox: Sandbox): Promise<void> {
    const count = this.options.instances;
    const ports = perApp((): number[] => []);
    for (const app of DATABASES) for (let n = 0; n < count; n++) ports[app].push(await anyFreePort());
    const mark = markFor(join(this.#dir, 'apps'));
    const settings = {
      sandbox,
      token: randomBytes(24).toString('base64url'),
      notifySecret: `whsec_${randomBytes(24).toString('base64')}`,
      urls: perApp((app) => `http://127.0.0.1:${ports[app][0]}`),
    };
    for (const app of DATABASES) {
      for (const [number, port] of ports[app].entries()) {
        const log = emptyLog(join(this.#dir, `${app}-${number + 1}.log`));
        this.#instances.push(await Instance.make({ app, number, port, log, settings, mark }));
      }
    }
    for (const instance of this.#instances) instance.start();
    await this.#untilAllReady();
    this.options.say(`${count} instances of each app are ready, each with a network of its own; logs in ${this.#dir}`);
  }

  async #untilAllReady(): Promise<void> {
    const failures = await Promise.all(
      this.#instances.map(async ({ app, number, url }) => {
        const why = await untilReady(url, { boundMs: READY_BOUND_MS });
        return why === null ? [] : [`${app} ${number + 1}: ${why}`];
      }),
    );
    const not = failures.flat();
    if (not.length > 0)
      throw new OperatorError(
        `not ready within ${READY_BOUND_MS / 1_000} s: ${not.join('; ')}; see the logs in ${this.#dir}`,
      );
  }

  async #openShop(): Promise<void> {
    const { payment, inventory } = this.#firstUrls();
    await expectOk('PUT', `${payment}/accounts/poor`, { body: { balance: 1 } });
    await expectOk('PUT', `${inventory}/stock/${SCRATCH_SKU}`, { body: { available: 0 } });
    for (let n = 0; n < BUYERS; n++) {
      await expectOk('PUT', `${payment}/accounts/${buyer(n)}`, { body: { balance: RICH_CENTS } });
      await expectOk('PUT', `${inventory}/stock/${sku(n)}`, { body: { available: FULL } });
    }
  }

  #byApp(): Record<App, Instance[]> {
    return perApp((app) => this.#instances.filter((one) => one.app === app));
  }

  #firstUrls(): Record<App, string> {
    const byApp = this.#byApp();
    return perApp((app) => byApp[app][0]!.url);
  }

  /** Breaks things while clients buy. Returns the number of steps. */
  async breakThings(): Promise<number> {
    const { seed, minutes, instances, callers, say } = this.options;
    const { control: controls } = this.#started;
    const can = ({ on, needsControl }: Nemesis) =>
      !needsControl || controls[on === 'broker' ? 'rabbitmq' : 'order'].supported;
    const left = NEMESES.filter((nemesis) => !can(nemesis)).map(({ name }) => name);
    if (left.length > 0) say(`left out, since these servers are not run by this command: ${left.join(', ')}`);
    const schedule = scheduleOf({ seed, minutes, instances, can });
    writeJson(join(this.#dir, `schedule-${seed}.json`), schedule);
    this.#clients = new Clients({ instances: this.#byApp(), callers, readers: 6 });
    const since = performance.now();
    const steps = schedule.map((step) => this.#play(step, since));
    await Promise.all(steps);
    await this.#sleepUntil(since + minutes * 60_000);
    return schedule.length;
  }

  async #play(step: Step, since: number): Promise<void> {
    await this.#sleepUntil(since + step.atMs);
    if (this.options.signal.aborted) return;
    this.options.say(lineOf(step));
    const fault = this.#faultOf(nemesisOf(step.nemesis), step.target);
    try {
      await fault.begin();
      this.#begun[step.nemesis] = (this.#begun[step.nemesis] ?? 0) + 1;
    } catch (error) {
      // Another step has frozen its server, so this one is left out.
      this.options.say(`        ${step.nemesis}: could not be begun (${messageOf(error)})`);
    }
    this.#running.set(step.n, () => this.#end(step.nemesis, fault));
    await this.#sleepUntil(since + step.atMs + step.lastsMs);
    await this.#running.get(step.n)?.();
    this.#running.delete(step.n);
  }

  #faultOf(nemesis: Nemesis, { app = 'order', instance = 0, path = 'database' }: Target): Fault {
    const { control: controls, databases } = this.#started;
    switch (nemesis.on) {
      case 'broker':
        return nemesis.fault({ server: controls.rabbitmq });
      case 'database':
        return nemesis.fault(databases[app]);
      case 'path':
        return nemesis.fault(this.#byApp()[app][instance]!.path(path));
      default:
        return nemesis.fault(this.#byApp()[app][instance]!);
    }
  }

  /** Must succeed, otherwise the run cannot come to rest. Another step may have frozen the server for a while. */
  async #end(name: string, fault: Fault): Promise<void> {
    let last: unknown;
    const isEnded = async () => {
      try {
        await fault.end();
        return true;
      } catch (error) {
        last = error;
        return false;
      }
    };
    if (!(await until(isEnded, { boundMs: 60_000, everyMs: 500 })))
      throw new OperatorError(`"${name}" could not be ended: ${messageOf(last)}`);
  }

  async #sleepUntil(moment: number): Promise<void> {
    const ms = moment - performance.now();
    if (ms > 0) await sleep(ms, undefined, { signal: this.options.signal }).catch(() => {});
  }

  /** After the last fault: every client gets its answer, the system settles, and the checker compares. */
  async judge(): Promise<Verdict> {
    const clients = this.#clients;
    if (!clients) throw new Error('nothing to judge: call breakThings() first, which makes the clients');
    const work = async () => {
      await clients.stop({ boundMs: 60_000 });
      await this.#untilAllReady();
      await clients.replay();
      await this.#untilReadable();
      const { sandbox } = this.#started;
      const judgement = await judge(sandbox, clients, { settleMs: SETTLE_MS, opened: BigInt(BUYERS * FULL) });
      const evidence = await evidenceOf(this.#started, judgement, this.#begun);
      return { ...judgement, evidence, routes: clients.routes };
    };
    return withProgress(work, { say: this.options.say, what: 'coming to rest' });
  }

  async #untilReadable(): Promise<void> {
    const url = `${this.#firstUrls().order}/orders?limit=1`;
    if (!(await untilAnswered('GET', () => url, { boundMs: 30_000 }))) throw new OperatorError('no orders can be read');
  }

  /** In the order in which they need each other. A failure of one does not keep the rest from stopping. */
  async stop(): Promise<void> {
    for (const end of this.#running.values()) await end().catch(() => {});
    await Promise.allSettled(this.#instances.map((instance) => instance.close()));
    await down(NAME, { say: this.options.say });
  }
}
