// The record of a running demo on disk. Other commands find the demo by it, and the next demo cleans up after a killed one.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { makePrivateDir, placeOf, ROOT, readJson, writeJson } from '../../infra-files.js';
import { withLock } from '../../process/command-lock.js';
import { killProcess, startOf } from '../../process/detached-processes.js';
import type { App } from '../../servers/server-set.js';

interface Session {
  readonly pid: number;
  readonly start: string | null;
  readonly apps?: ReadonlyArray<{ readonly name: App; readonly pid: number; readonly start: string | null }>;
  readonly urls?: Record<App, string>;
  /** The path of the control socket. */
  readonly control?: string | null;
}

export const demoDir = (): string => makePrivateDir(placeOf('demo'));
/** One break at a time: of the lab, or of `npm run break`. */
export const breakLock = (): string => join(ROOT, '.infra', 'demo-break.lock');
const sessionFile = () => join(placeOf('demo'), 'session.json');

/** The record of the running demo, or null if no demo runs. */
export function runningDemo(): Session | null {
  const session = readJson<Session>(sessionFile());
  return session && startOf(session.pid) === session.start ? session : null;
}

/** Throws if another demo runs. Ends the apps that a killed demo has left behind. */
export function takeOver({ say }: { say: Say }): Promise<void> {
  const lock = join(ROOT, '.infra', 'demo-session.lock'); // of two that start at once, one must see the other
  return withLock(lock, { say, what: 'the demo', boundMs: 60_000 }, () => cleanUp(say));
}

async function cleanUp(say: Say): Promise<void> {
  const running = runningDemo();
  if (running) {
    const urls = Object.values(running.urls ?? {}).join(' ');
    throw new OperatorError(
      `a demo is already running (process ${running.pid}${urls ? `; ${urls}` : ''}): stop it with Ctrl-C first`,
    );
  }
  for (const { name, pid, start } of readJson<Session>(sessionFile())?.apps ?? []) {
    if (start === null || startOf(pid) !== start) continue;
    say(`the demo before was killed: ending its ${name} app, process ${pid}`);
    await killProcess(pid);
  }
  saveSession({});
}

/** Written in the turn that starts an app, so that every running process is on record. */
export function saveSession(facts: Omit<Session, 'pid' | 'start'>): void {
  demoDir();
  writeJson(sessionFile(), { pid: process.pid, start: startOf(process.pid), ...facts });
}

export function endSession(): void {
  rmSync(sessionFile(), { force: true });
}
