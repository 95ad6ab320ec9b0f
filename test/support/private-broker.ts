import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { makePrivateDir, placeOf } from '../../tools/src/process/files.js';
import { endProcess, killProcess, launch, pidOf } from '../../tools/src/process/processes.js';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { brokerProgram } from '../../tools/src/servers/programs.js';
import { prepareBroker } from '../../tools/src/servers/rabbitmq-server.js';
import { freePort } from './private-database.js';
import { until } from './until.js';
import { servers, type World } from './world.js';

const PASSWORD = 'private-secret';

/** A RabbitMQ broker for one spec file, whose limits and alarms no other test could live with. */
export class PrivateBroker {
  private constructor(
    private readonly dir: string,
    private readonly command: string,
    private readonly env: NodeJS.ProcessEnv,
    private readonly ports: { readonly rabbitmq: number; readonly management: number },
  ) {}

  static async start(name: string): Promise<PrivateBroker> {
    const program = brokerProgram();
    if ('lack' in program) throw new Error(`a private broker needs ${program.lack}`);
    const dir = join(makePrivateDir(placeOf('test')), `private-${name}`);
    rmSync(dir, { recursive: true, force: true });
    const [rabbitmq, management, epmd, dist] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const ports = { rabbitmq, management, epmd, dist };
    const state = { ports, secrets: { broker: PASSWORD, cookie: PASSWORD }, nodeName: undefined as string | undefined };
    const { mapper, broker } = prepareBroker({ dir, state, program });
    launch(dir, 'epmd', mapper);
    launch(dir, 'rabbitmq', broker);
    const env = { ...process.env, ...broker.env, RABBITMQ_NODENAME: state.nodeName };
    const started = new PrivateBroker(dir, join(dirname(program.server), 'rabbitmqctl'), env, ports);
    const isUp = () =>
      started.ctl('await_startup').then(
        () => true,
        () => false,
      );
    await until('the private broker answers', isUp, { withinMs: 100_000, everyMs: 500 });
    return started;
  }

  /** A vhost of this broker, with databases and a Redis that are shared. */
  async world(name: string): Promise<World> {
    const at = (port: number) => `dtx:${PASSWORD}@127.0.0.1:${port}`;
    const rabbitmq = `amqp://${at(this.ports.rabbitmq)}`;
    const management = `http://${at(this.ports.management)}`;
    return createSandbox({ ...servers(), rabbitmq, management }, name);
  }

  /** What its administrator says to it. */
  async ctl(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(this.command, ['--quiet', ...args], {
      env: this.env,
      timeout: 60_000,
    });
    return stdout;
  }

  async stop(): Promise<void> {
    await endProcess(pidOf(this.dir, 'rabbitmq'));
    await killProcess(pidOf(this.dir, 'epmd'));
  }
}
