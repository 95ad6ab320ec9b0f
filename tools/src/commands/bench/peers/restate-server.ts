// Restate's server for the saga of a peer: one node with empty storage, all options as it comes, fsync included.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { anyFreePort } from '../../../process/app-ports.js';
import { endProcess, markFor } from '../../../process/detached-processes.js';
import { restateProgram } from './peer-package.js';

interface Options {
  readonly dataDir: string;
  readonly marked: string;
  readonly logOf: (process: string) => string;
}

export class RestateServer {
  private constructor(
    readonly pid: number,
    /** Where callers call a service. */
    readonly ingress: string,
    private readonly admin: string,
    private readonly dataDir: string,
  ) {}

  /** The apps register at it as soon as it answers. */
  static async start({ dataDir, marked, logOf }: Options): Promise<RestateServer> {
    const [ingress, admin, node] = [await address(), await address(), await address()];
    rmSync(dataDir, { recursive: true, force: true });
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const out = openSync(logOf('server'), 'a', 0o600);
    const child = spawn(restateProgram(), ['--no-logo'], {
      cwd: dataDir,
      detached: true,
      stdio: ['ignore', out, out],
      env: {
        ...process.env,
        RESTATE_BASE_DIR: dataDir,
        RESTATE_LISTEN_MODE: 'tcp',
        RESTATE_BIND_ADDRESS: node,
        RESTATE_INGRESS__BIND_ADDRESS: ingress,
        RESTATE_ADMIN__BIND_ADDRESS: admin,
        RESTATE_DISABLE_TELEMETRY: 'true',
        ...markFor(marked),
      },
    });
    closeSync(out);
    child.on('error', () => {}); // the apps report that it does not answer
    return new RestateServer(child.pid ?? 0, `http://${ingress}`, `http://${admin}`, dataDir);
  }

  /** For the apps. Their SDK would log every call. */
  get env(): NodeJS.ProcessEnv {
    return { RESTATE_ADMIN_URL: this.admin, RESTATE_LOGGING: 'WARN' };
  }

  async stop(): Promise<void> {
    await endProcess(this.pid || null);
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

const address = async () => `127.0.0.1:${await anyFreePort()}`;
