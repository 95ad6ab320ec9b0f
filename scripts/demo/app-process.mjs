// One instance of an app as a child process.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../infra/place.mjs';
import { endProcess, startOf } from '../infra/processes.mjs';

// An app gets this long to finish what it has in work before it is killed.
const POLITE_MS = 12_000;

/**
 * Starts `apps/<name>`. In a process group of its own: a Ctrl-C in the terminal reaches only the demo, which then stops
 * its apps in order. It logs straight into a file, so that its last words are kept whoever dies first.
 * @param {{ name: string, port: number, env: object, log: string, onExit: (how: string) => void }} options
 */
export function startApp({ name, port, env, log, onExit }) {
  const out = openSync(log, 'a', 0o600);
  const main = join(ROOT, 'apps', name, 'dist', 'main.js');
  const child = spawn(process.execPath, ['--enable-source-maps', main], {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', out, out],
    env: { ...cleanEnvironment(), ...env, PORT: String(port) },
  });
  closeSync(out);
  const app = { name, port, url: `http://127.0.0.1:${port}`, pid: child.pid, start: startOf(child.pid), exited: null };
  const ended = new Promise((resolve) => {
    const end = (how) => {
      if (app.exited) return;
      app.exited = how;
      resolve();
      onExit(how);
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => end(signal ?? `exit code ${code}`));
  });
  return Object.assign(app, {
    ended,
    // Never signals the pid of one that has ended: it may be somebody else's by now.
    stop: async () => {
      if (!app.exited) await endProcess(child.pid, { politeMs: POLITE_MS });
      await ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  });
}

export const isBuilt = (name) => existsSync(join(ROOT, 'apps', name, 'dist', 'main.js'));

/**
 * The caller's settings of the apps are kept; what would point them elsewhere, arm them or make them think that this is
 * production is not.
 */
function cleanEnvironment() {
  const KEPT = /^DTX_(OPTIONS|ALERT_WEBHOOK|NOTIFY_\w+)$/;
  const isUnwanted = (key) =>
    (key.startsWith('DTX_') && !KEPT.test(key)) || /^(PORT|HOST|NODE_ENV|NODE_OPTIONS)$/.test(key);
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !isUnwanted(key)));
}
