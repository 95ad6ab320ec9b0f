// The demo as steps: start, show, serve, stop.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { audit } from '../../audit/index.js';
import { exitCodeOf, reportLines } from '../../audit/report-and-exit-code.js';
import type { Say } from '../../cli/say-type.js';
import { environmentOf } from '../../process/app-environment.js';
import { choosePorts } from '../../process/app-ports.js';
import { Supervisor } from '../../process/supervisor.js';
import { rememberSandbox } from '../../sandbox/known-sandboxes.js';
import { createSandbox, type Sandbox } from '../../sandbox/sandbox.js';
import { down, up } from '../../servers/index.js';
import { type App, perApp } from '../../servers/server-set.js';
import type { Lab } from '../lab/lab.js';
import { startLab } from '../lab/lab-settings.js';
import { actionsOn } from './app-actions.js';
import { type Actions, type ControlServer, listen, socketPathOf } from './control-socket.js';
import { crashAndRecover } from './crash-step.js';
import { expireAnOrder } from './expiry-step.js';
import { makePurchases, purchaseTable, setTheScene } from './purchases.js';
import { breakLock, demoDir, saveSession } from './running-demo-file.js';
import { writeEnvFile } from './shell-env-file.js';

/** Exists once the apps are started. */
interface Running {
  readonly sandbox: Sandbox;
  readonly supervisor: Supervisor;
  readonly control: ControlServer;
  readonly actions: Actions;
}

export class Demo {
  isServing = false;
  readonly #say: Say;
  readonly #signal: AbortSignal;
  readonly #dir = demoDir();
  readonly #token = process.env.DTX_ADMIN_TOKEN || randomBytes(24).toString('base64url');
  readonly #notifySecret = process.env.DTX_NOTIFY_SECRET || `whsec_${randomBytes(24).toString('base64')}`;
  #touchedServers = false;
  #running: Running | null = null;
  #lab: Lab | null = null;
  #labLines: string[] = [];

  constructor({ say, signal }: { say: Say; signal: AbortSignal }) {
    this.#say = (line) => {
      say(line);
      this.#lab?.note(line);
    };
    this.#signal = signal;
  }

  /** From a built clone to three ready apps on fresh data. */
  async start(): Promise<void> {
    const say = this.#say;
    const { lab, lines } = await startLab({ say });
    this.#lab = lab;
    this.#labLines = lines;
    this.#signal.throwIfAborted();
    const ports = await choosePorts({ say });
    this.#signal.throwIfAborted();
    this.#touchedServers = true;
    const servers = await up('demo', { say });
    this.#signal.throwIfAborted();
    const sandbox = await createSandbox(servers, 'demo', { fresh: true });
    rememberSandbox('demo', sandbox);
    say('fresh databases, virtual host and Redis number made: each demo starts anew');
    this.#signal.throwIfAborted();
    await this.#startApps(sandbox, ports);
  }

  async #startApps(sandbox: Sandbox, ports: Record<App, number>): Promise<void> {
    const urls = perApp((app) => `http://127.0.0.1:${ports[app]}`);
    const settings = { sandbox, token: this.#token, notifySecret: this.#notifySecret, urls };
    const path = socketPathOf(this.#dir);
    const supervisor = new Supervisor({
      say: this.#say,
      environmentOf: (app) => environmentOf(app, settings),
      logOf: (app) => join(this.#dir, `${app}.log`),
      record: () => {
        const apps = supervisor.processes.map(({ name, pid, start }) => ({ name, pid, start }));
        saveSession({ apps, urls: supervisor.urls, control: path });
      },
    });
    const actions = actionsOn({ supervisor, sandbox, token: this.#token, isServing: () => this.isServing });
    const control = await listen(path, actions);
    this.#running = { sandbox, supervisor, control, actions };
    supervisor.on('event', (event) => {
      control.tell(event);
      this.#lab?.tell(event);
    });
    this.#say('starting the apps ...');
    await supervisor.startAll(ports);
    for (const [app, url] of Object.entries(supervisor.urls)) this.#say(`the ${app} app is ready at ${url}`);
    this.#writeEnvFile();
  }

  get #started(): Running {
    if (!this.#running) throw new Error('the demo has no apps yet');
    return this.#running;
  }

  /** The purchases, the crash, the expiry, the audit. True only if all results are as expected. */
  async showWhatItDoes(): Promise<boolean> {
    const say = this.#say;
    const { supervisor, sandbox } = this.#started;
    await setTheScene(supervisor.urls);
    say('accounts alice (rich) and bob (poor) and stock are set');
    const rows = await makePurchases(supervisor.urls, { say });
    const failpointLog = join(this.#dir, 'failpoints.log');
    rmSync(failpointLog, { force: true });
    rows.push(await crashAndRecover(supervisor, { say, failpointLog }));
    rows.push(await expireAnOrder(supervisor, { say, failpointLog }));
    say(`\n${purchaseTable(rows)}\n`);
    say('checking the invariants (waits until the system is quiet) ...');
    const result = await audit(sandbox);
    say(reportLines(result).join('\n'));
    return rows.every((row) => row.asExpected) && exitCodeOf([result]) === 0;
  }

  /** Prints all addresses. */
  serve(): void {
    const env = this.#writeEnvFile();
    const { sandbox, supervisor, actions } = this.#started;
    const { order, payment, inventory } = supervisor.urls;
    this.isServing = true;
    this.#lab?.serve({
      urls: supervisor.urls,
      sandbox,
      adminToken: this.#token,
      processes: {
        actions,
        failpointLog: join(this.#dir, 'failpoints.log'),
        breakLock: breakLock(),
        living: () => supervisor.processes,
      },
    });
    this.#say(
      [
        '',
        ...this.#labLines,
        `console    ${order}/dtx/console  (all apps: charts, transactions, alerts. Sign in with the token)`,
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

  #writeEnvFile(): string {
    const { supervisor, sandbox } = this.#started;
    return writeEnvFile(this.#dir, { urls: supervisor.urls, sandbox, token: this.#token });
  }

  /** Apps first: a graceful stop needs its servers. */
  async stop(): Promise<void> {
    await this.#lab?.close();
    this.#running?.control.close();
    await this.#running?.supervisor.stopAll();
    if (!this.#touchedServers) return;
    await down('demo', { say: this.#say });
    this.#say('stopped: apps and servers are down; the data stays for "npm run audit" and "npm run trace"');
  }
}
