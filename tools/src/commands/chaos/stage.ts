// What a run happens on: servers, an empty sandbox, an open shop, and instances of each app with a network of their own.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { makePrivateDir, placeOf } from '../../infra-files.js';
import { anyFreePort } from '../../process/app-ports.js';
import { endStrays, markFor } from '../../process/detached-processes.js';
import { rememberSandbox } from '../../sandbox/known-sandboxes.js';
import { createSandbox, type Sandbox } from '../../sandbox/sandbox.js';
import { control, down, up } from '../../servers/index.js';
import { type App, DATABASES, perApp, type Server, type ServerControl } from '../../servers/server-set.js';
import { versionsOf } from '../../servers/versions.js';
import { expectOk, untilReady } from '../../shop/app-calls.js';
import { Broker } from './breakable-broker.js';
import { type DatabaseServer, databaseServers } from './breakable-database-servers.js';
import { buyer, sku } from './clients.js';
import type { Operator } from './operator.js';
import { emptyLog, Instance } from './proxied-app-instance.js';

const SET = 'chaos';
const READY_BOUND_MS = 120_000;
const BUYERS = 8;
const RICH_CENTS = 1_000_000_000;
const FULL = 100_000;
/** The stock at the begin, over all skus that clients buy. */
export const OPENED = BUYERS * FULL;

export interface StageOptions {
  readonly say: Say;
  readonly signal: AbortSignal;
  /** Of each app. */
  readonly instances: number;
  /** The name of the sandbox, which is made anew. */
  readonly sandbox: string;
}

/** Exists once the servers are up. */
interface Backstage {
  readonly sandbox: Sandbox;
  readonly control: Record<Server, ServerControl>;
  readonly databases: Record<App, DatabaseServer>;
  readonly broker: Broker;
}

export class Stage {
  readonly dir = makePrivateDir(placeOf(SET));
  readonly #instances: Instance[] = [];
  #behind: Backstage | null = null;

  constructor(private readonly options: StageOptions) {}

  /** @throws Error before the servers are up */
  get behind(): Backstage {
    if (!this.#behind) throw new Error('the run has no servers yet');
    return this.#behind;
  }

  get byApp(): Record<App, Instance[]> {
    return perApp((app) => this.#instances.filter((one) => one.app === app));
  }

  /** The acts of the operator, over all instances. */
  get byOperator(): Operator['counts'] {
    const counts = this.#instances.map(({ operator }) => operator.counts);
    return counts.reduce((a, b) => ({ retried: a.retried + b.retried, rejected: a.rejected + b.rejected }));
  }

  async open(): Promise<void> {
    const { say, signal, sandbox: name } = this.options;
    await endStrays(join(this.dir, 'apps')); // of a run that was killed
    const servers = await up(SET, { say });
    signal.throwIfAborted();
    const sandbox = await createSandbox(servers, name, { fresh: true });
    rememberSandbox(SET, sandbox);
    const controls = control(SET);
    const databases = databaseServers(servers, sandbox, controls);
    const broker = new Broker({ set: SET, management: sandbox.management, server: controls.rabbitmq });
    this.#behind = { sandbox, control: controls, databases, broker };
    const accounts = { ...sandbox.databases };
    // A run that was killed may have left a fault behind.
    if (controls.rabbitmq.supported) await broker.reset();
    for (const app of DATABASES) {
      await databases[app].setReadOnly(false);
      accounts[app] = await databases[app].makeAccount();
    }
    signal.throwIfAborted();
    await this.#startInstances({ ...sandbox, databases: accounts });
    await databases.inventory.prepareHandlerFault();
    await this.#openShop();
  }

  async #startInstances(sandbox: Sandbox): Promise<void> {
    const count = this.options.instances;
    const ports = perApp((): number[] => []);
    for (const app of DATABASES) for (let n = 0; n < count; n++) ports[app].push(await anyFreePort());
    const mark = markFor(join(this.dir, 'apps'));
    const settings = {
      sandbox,
      token: randomBytes(24).toString('base64url'),
      notifySecret: `whsec_${randomBytes(24).toString('base64')}`,
      urls: perApp((app) => `http://127.0.0.1:${ports[app][0]}`),
    };
    for (const app of DATABASES) {
      for (const [number, port] of ports[app].entries()) {
        const log = emptyLog(join(this.dir, `${app}-${number + 1}.log`));
        this.#instances.push(await Instance.make({ app, number, port, log, settings, mark }));
      }
    }
    for (const instance of this.#instances) instance.start();
    await this.untilAllReady();
    const { database, broker } = await versionsOf(sandbox);
    this.options.say(
      `${count} instances of each app are ready on ${database} and ${broker}, each with a network of its own`,
    );
    this.options.say(`logs are in ${this.dir}`);
  }

  /** @throws OperatorError with the instances that are not ready at the limit */
  async untilAllReady(): Promise<void> {
    const failures = await Promise.all(
      this.#instances.map(async ({ app, number, url }) => {
        const why = await untilReady(url, { boundMs: READY_BOUND_MS });
        return why === null ? [] : [`${app} ${number + 1}: ${why}`];
      }),
    );
    const not = failures.flat();
    if (not.length > 0)
      throw new OperatorError(
        `not ready within ${READY_BOUND_MS / 1_000} s: ${not.join('; ')}; see the logs in ${this.dir}`,
      );
  }

  async #openShop(): Promise<void> {
    const { payment, inventory } = this.byApp;
    await expectOk('PUT', `${payment[0]!.url}/accounts/poor`, { body: { balance: 1 } });
    for (let n = 0; n < BUYERS; n++) {
      await expectOk('PUT', `${payment[0]!.url}/accounts/${buyer(n)}`, { body: { balance: RICH_CENTS } });
      await expectOk('PUT', `${inventory[0]!.url}/stock/${sku(n)}`, { body: { available: FULL } });
    }
  }

  /** A failure of one does not keep the rest from stopping. The data stays. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#instances.map((instance) => instance.close()));
    await down(SET, { say: this.options.say });
  }
}
