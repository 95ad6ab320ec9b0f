// One instance of an app as a child process.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../infra-files.js';
import type { App } from '../servers/server-set.js';
import { endProcess, startOf } from './detached-processes.js';
import { NODE_FLAGS } from './node-flags.js';

// An app gets this long to finish its work before it is killed.
const POLITE_MS = 12_000;

export interface AppProcess {
  readonly name: App;
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Tells the process from a later one with the same pid. */
  readonly start: string | null;
  /** How it ended, or null while it runs. */
  exited: string | null;
  readonly ended: Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export interface AppStart {
  readonly name: App;
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
  readonly log: string;
  readonly onExit: (how: string) => void;
}

/**
 * Starts `apps/<name>`. In a process group of its own: a Ctrl-C in the terminal reaches only the demo, which then stops
 * its apps in order. It logs straight into a file, so that its last lines are kept even if the demo dies first.
 */
export function startApp({ name, port, env, log, onExit }: AppStart): AppProcess {
  const out = openSync(log, 'a', 0o600);
  const main = join(ROOT, 'apps', name, 'dist', 'main.js');
  const child = spawn(process.execPath, [...NODE_FLAGS, '--enable-source-maps', main], {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', out, out],
    env: { ...cleanEnvironment(), ...env, PORT: String(port) },
  });
  closeSync(out);
  const pid = child.pid ?? 0;
  const { promise: ended, resolve } = withResolvers();
  const end = (how: string) => {
    if (app.exited) return;
    app.exited = how;
    resolve();
    onExit(how);
  };
  child.on('error', (error) => end(error.message));
  child.on('exit', (code, signal) => end(signal ?? `exit code ${code}`));
  const app: AppProcess = {
    name,
    port,
    url: `http://127.0.0.1:${port}`,
    pid,
    start: startOf(pid),
    exited: null,
    ended,
    // Never signals the pid of an app that has ended: another process may have it by now.
    stop: async () => {
      if (!app.exited) await endProcess(pid, { politeMs: POLITE_MS });
      await ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
  return app;
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Keeps the caller's settings of the apps, but no other servers, armed failpoints or production mode. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const KEPT = /^DTX_(OPTIONS|ALERT_WEBHOOK|NOTIFY_\w+)$/;
  const isUnwanted = (key: string) =>
    (key.startsWith('DTX_') && !KEPT.test(key)) || /^(PORT|HOST|NODE_ENV|NODE_OPTIONS)$/.test(key);
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !isUnwanted(key)));
}
