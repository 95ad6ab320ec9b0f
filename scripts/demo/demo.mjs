// The demo as steps: start, show, serve, stop.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { audit } from '../audit/index.mjs';
import { exitCodeOf, reportLines } from '../audit/report.mjs';
import { rememberDemoWorld } from '../audit/worlds.mjs';
import { down, up } from '../infra/index.mjs';
import { prepare } from '../prepare.mjs';
import { listen, socketPathOf } from './control.mjs';
import { crashAndRecover } from './crash-step.mjs';
import { environmentOf, writeEnvFile } from './environment.mjs';
import { anyFreePort, choosePorts } from './ports.mjs';
import { makePurchases, purchaseTable, setTheScene } from './purchases.mjs';
import { demoDir, saveSession } from './session.mjs';
import { Supervisor } from './supervisor.mjs';

export class Demo {
  isServing = false;
  #dir = demoDir();
  #token = process.env.DTX_ADMIN_TOKEN || randomBytes(24).toString('base64url');
  #notifySecret = process.env.DTX_NOTIFY_SECRET || `whsec_${randomBytes(24).toString('base64')}`;
  #touchedServers = false;
  #world = null;
  #supervisor = null;
  #control = null;
  #controlPath = null;

  /** @param {{ say: (line: string) => void, signal: AbortSignal }} options */
  constructor({ say, signal }) {
    this.say = say;
    this.signal = signal;
  }

  /** From a bare clone to three ready apps on fresh data. */
  async start() {
    const { say, signal } = this;
    await prepare({ say, signal });
    const ports = await choosePorts({ say });
    signal.throwIfAborted();
    this.#touchedServers = true;
    const servers = await up('demo', { say });
    signal.throwIfAborted();
    const { createWorld } = await import('../infra/world.mjs');
    this.#world = await createWorld(servers, 'demo', { fresh: true });
    rememberDemoWorld(this.#world);
    say('fresh databases, virtual host and Redis number made: each demo starts anew');
    signal.throwIfAborted();
    await this.#startApps(ports);
  }

  async #startApps(ports) {
    const urls = Object.fromEntries(Object.entries(ports).map(([app, port]) => [app, `http://127.0.0.1:${port}`]));
    const common = { world: this.#world, token: this.#token, notifySecret: this.#notifySecret, urls };
    this.#supervisor = new Supervisor({
      say: this.say,
      environmentOf: (app) => environmentOf(app, common),
      logOf: (app) => join(this.#dir, `${app}.log`),
      record: () => this.#record(),
    });
    this.#controlPath = socketPathOf(this.#dir);
    this.#control = await listen(this.#controlPath, this.#actions());
    this.#supervisor.on('event', (event) => this.#control.tell(event));
    this.say('starting the apps ...');
    await this.#supervisor.startAll(ports);
    for (const [app, url] of Object.entries(this.#supervisor.urls)) this.say(`the ${app} app is ready at ${url}`);
    this.#writeEnvFile();
  }

  #record() {
    const apps = this.#supervisor.processes.map(({ name, pid, start }) => ({ name, pid, start }));
    saveSession({ apps, urls: this.#supervisor.urls, control: this.#controlPath });
  }

  /** What `npm run break` may ask for. */
  #actions() {
    const supervisor = this.#supervisor;
    return {
      status: async () => ({
        urls: supervisor.urls,
        world: this.#world,
        token: this.#token,
        isServing: this.isServing,
      }),
      restart: ({ app, env, holdMs }) => supervisor.restart(app, { env, holdMs }),
      startSecond: async ({ app }) => supervisor.startSecond(app, await anyFreePort()),
      stopSecond: ({ app }) => supervisor.stopSecond(app),
      kill: ({ app }) => supervisor.kill(app),
    };
  }

  /** The purchases, the crash, the audit. True only if everything came out as it must. */
  async showWhatItDoes() {
    const { say } = this;
    const urls = this.#supervisor.urls;
    await setTheScene(urls);
    say('accounts alice (rich) and bob (poor) and stock are set');
    const rows = await makePurchases(urls, { say });
    const failpointLog = join(this.#dir, 'failpoints.log');
    rmSync(failpointLog, { force: true });
    rows.push(await crashAndRecover(this.#supervisor, { say, failpointLog }));
    say(`\n${purchaseTable(rows)}\n`);
    say('checking the invariants (waits until the system is quiet) ...');
    const result = await audit(this.#world);
    say(reportLines(result).join('\n'));
    return rows.every((row) => row.asExpected) && exitCodeOf([result]) === 0;
  }

  /** Says where everything is. */
  serve() {
    const env = this.#writeEnvFile();
    const { order, payment, inventory } = this.#supervisor.urls;
    this.isServing = true;
    this.say(
      [
        '',
        `order      ${order}  (docs ${order}/docs)`,
        `payment    ${payment}  (docs ${payment}/docs)`,
        `inventory  ${inventory}  (docs ${inventory}/docs)`,
        `token      ${this.#token}`,
        `shell      . ${relative(process.cwd(), env)}`,
        `logs       ${relative(process.cwd(), this.#dir)}/*.log`,
        `try        curl -d '{"buyerId":"alice","sku":"book","quantity":1}' -H 'content-type: application/json' ${order}/orders`,
        'break      npm run failpoints, npm run break -- <failpoint>',
        'serving until Ctrl-C',
      ].join('\n'),
    );
  }

  #writeEnvFile() {
    return writeEnvFile(this.#dir, { urls: this.#supervisor.urls, world: this.#world, token: this.#token });
  }

  /** Apps first: a graceful stop needs its servers. */
  async stop() {
    this.#control?.close();
    await this.#supervisor?.stopAll();
    if (!this.#touchedServers) return;
    await down('demo', { say: this.say });
    this.say('stopped: apps and servers are down; the data stays for "npm run audit" and "npm run trace"');
  }
}
