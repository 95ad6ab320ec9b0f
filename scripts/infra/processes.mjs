// Processes that outlive the command which started them: started without a terminal, found again by pid and start time.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJson, writeJson } from './place.mjs';

/** Every process we start inherits this, so a later `down` finds even one whose pid was never written down. */
const MARK = 'DTX_INFRA_OWNER';
export const markFor = (dir) => ({ [MARK]: dir });

/** Tells a process from a later one with the same pid. Null when there is none, or it is only a zombie. */
export function startOf(pid) {
  try {
    if (existsSync('/proc/self/stat')) {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ');
      return fields[0] === 'Z' || fields[0] === 'X' ? null : fields[19];
    }
    const line = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return line === '' || line.startsWith('Z') ? null : line.slice(line.indexOf(' ')).trim();
  } catch {
    return null;
  }
}

/**
 * Spawning and writing the pid down happen in one turn of the event loop: a Ctrl-C that is handled cannot fall between.
 * `input` is a file to read from; `account` is whose rights the process has, ours by default.
 * @param {string} dir
 * @param {string} label
 * @param {{ command: string, args?: string[], env?: object, cwd?: string, input?: string, account?: object, log: string }} what
 */
export function launch(dir, label, { command, args = [], env = {}, cwd = dir, input, account, log }) {
  const out = openSync(log, 'a', 0o600);
  const stdin = input ? openSync(input, 'r') : null;
  try {
    const child = spawn(command, args, {
      cwd,
      detached: true,
      stdio: [stdin ?? 'ignore', out, out],
      env: { ...process.env, ...env, ...markFor(dir) },
      ...account,
    });
    const launched = { label, log, exited: null };
    child.on('error', (error) => {
      launched.exited = error.message;
    });
    child.on('exit', (code, signal) => {
      launched.exited = signal ?? `exit code ${code}`;
    });
    child.unref();
    if (child.pid) writeJson(pidFile(dir, label), { pid: child.pid, start: startOf(child.pid) });
    return launched;
  } finally {
    closeSync(out);
    if (stdin !== null) closeSync(stdin);
  }
}

const pidFile = (dir, label) => join(dir, `${label}.pid.json`);

/** The pid of a process started under this label, if that very process still lives. */
export function pidOf(dir, label) {
  const known = readJson(pidFile(dir, label));
  return known && known.start !== null && startOf(known.pid) === known.start ? known.pid : null;
}

export function signal(pid, name) {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

/** Asks politely, waits, then insists. A stopped (paused) process is woken first: it could not hear the request. */
export async function endProcess(pid, { politeMs = 20_000 } = {}) {
  const start = startOf(pid);
  if (start === null) return;
  signal(pid, 'SIGTERM');
  signal(pid, 'SIGCONT');
  if (await gone(pid, start, politeMs)) return;
  signal(pid, 'SIGKILL');
  await gone(pid, start, 10_000);
}

export async function killProcess(pid) {
  const start = startOf(pid);
  if (start === null) return;
  signal(pid, 'SIGKILL');
  await gone(pid, start, 10_000);
}

async function gone(pid, start, ms) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    if (startOf(pid) !== start) return true;
  }
  return startOf(pid) !== start;
}

export const forgetPid = (dir, label) => rmSync(pidFile(dir, label), { force: true });

/** Pids that carry our mark for this folder: what a crash between two of our own steps may have left running. */
export function strays(dir) {
  if (!existsSync('/proc/self/environ')) return [];
  const wanted = `${MARK}=${dir}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid && marked(entry, wanted))
    .map(Number);
}

function marked(pid, wanted) {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(wanted) && startOf(pid) !== null;
  } catch {
    return false; // gone meanwhile, or somebody else's
  }
}

export async function endStrays(dir) {
  for (const pid of strays(dir)) await endProcess(pid, { politeMs: 3_000 });
}

export function tailOf(log, lines = 12) {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
