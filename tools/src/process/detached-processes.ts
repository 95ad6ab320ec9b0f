// Processes that outlive the command which started them. They are found again by pid and start time.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../cli/error-text.js';
import { readJson, writeJson } from '../infra-files.js';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** A program to start. */
export interface Program {
  readonly command: string;
  readonly args?: readonly string[];
  /** Beside the caller's environment. `undefined` removes a variable. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** A file that it reads as its standard input. */
  readonly input?: string;
  /** Whose rights it has: those of the caller by default. */
  readonly account?: Account | null;
  readonly log: string;
}

export interface Launched {
  readonly label: string;
  readonly log: string;
  /** How it ended, or null while it runs. */
  exited: string | null;
}

/** Every started process inherits this variable, so that `down` finds even a process whose pid was not written. */
const MARK = 'DTX_INFRA_OWNER';
export const markFor = (dir: string): NodeJS.ProcessEnv => ({ [MARK]: dir });

/** Tells a process from a later one with the same pid. Null if it does not exist or is a zombie. */
export function startOf(pid: number): string | null {
  try {
    if (existsSync('/proc/self/stat')) {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop()!.split(' ');
      return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
    }
    const line = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return line === '' || line.startsWith('Z') ? null : line.slice(line.indexOf(' ')).trim();
  } catch {
    return null;
  }
}

/** Starts it and writes its pid in one turn of the event loop: a handled Ctrl-C cannot fall between the two. */
export function launch(
  dir: string,
  label: string,
  { command, args = [], env = {}, cwd = dir, input, account, log }: Program,
): Launched {
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
    const launched: Launched = { label, log, exited: null };
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

const pidFile = (dir: string, label: string) => join(dir, `${label}.pid.json`);

/** The pid of the process that was started under this label, if it is still that process. */
export function pidOf(dir: string, label: string): number | null {
  const known = readJson<{ pid: number; start: string | null }>(pidFile(dir, label));
  return known && known.start !== null && startOf(known.pid) === known.start ? known.pid : null;
}

export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/** SIGTERM, then SIGKILL after a while. A paused process is resumed first, otherwise it could not handle SIGTERM. */
export async function endProcess(pid: number | null, { politeMs = 20_000 } = {}): Promise<void> {
  const start = pid === null ? null : startOf(pid);
  if (pid === null || start === null) return;
  signal(pid, 'SIGTERM');
  signal(pid, 'SIGCONT');
  if (await gone(pid, start, politeMs)) return;
  signal(pid, 'SIGKILL');
  await gone(pid, start, 10_000);
}

export async function killProcess(pid: number | null): Promise<void> {
  const start = pid === null ? null : startOf(pid);
  if (pid === null || start === null) return;
  signal(pid, 'SIGKILL');
  await gone(pid, start, 10_000);
}

async function gone(pid: number, start: string, ms: number): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    if (startOf(pid) !== start) return true;
  }
  return startOf(pid) !== start;
}

export const forgetPid = (dir: string, label: string): void => rmSync(pidFile(dir, label), { force: true });

/** Pids that carry the mark of this folder: processes that a crash of a command may have left running. */
export const strays = (dir: string): number[] => marked((owner) => owner === dir);

function marked(isWanted: (dir: string) => boolean): number[] {
  if (!existsSync('/proc/self/environ')) return [];
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && isWanted(ownerOf(pid)) && startOf(pid) !== null);
}

/** The folder in the mark of a process, or an empty text. */
function ownerOf(pid: number): string {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return entries.find((entry) => entry.startsWith(`${MARK}=`))?.slice(MARK.length + 1) ?? '';
  } catch {
    return ''; // it has ended meanwhile, or belongs to another user
  }
}

/** Ends the processes of all folders whose path begins so, by SIGKILL. For servers whose data is of no further use. */
export async function killStraysBelow(path: string): Promise<void> {
  await Promise.all(marked((owner) => owner.startsWith(path)).map(killProcess));
}

export async function endStrays(dir: string): Promise<void> {
  for (const pid of strays(dir)) await endProcess(pid, { politeMs: 3_000 });
}

/** The last lines of a log. */
export function tailOf(log: string, lines = 12): string {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
