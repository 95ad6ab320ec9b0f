// What a running demo leaves on disk, so that other commands find it and the next run can clean up after a killed one.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../command/entry.mjs';
import { withLock } from '../infra/lock.mjs';
import { makePrivateDir, placeOf, ROOT, readJson, writeJson } from '../infra/place.mjs';
import { killProcess, startOf } from '../infra/processes.mjs';

export const demoDir = () => makePrivateDir(placeOf('demo'));
const sessionFile = () => join(demoDir(), 'session.json');

/** The running demo's own words about itself, or null when none runs. */
export function runningDemo() {
  const session = readJson(sessionFile());
  return session && startOf(session.pid) === session.start ? session : null;
}

/** Throws when another demo runs; ends the apps that a killed one has left behind. */
export function takeOver({ say }) {
  const lock = join(ROOT, '.infra', 'demo-session.lock'); // of two that start at once, one must see the other
  return withLock(lock, { say, what: 'the demo', boundMs: 60_000 }, () => cleanUp({ say }));
}

async function cleanUp({ say }) {
  const running = runningDemo();
  if (running) {
    const urls = Object.values(running.urls ?? {}).join(' ');
    throw new OperatorError(
      `a demo is already running (process ${running.pid}${urls ? `; ${urls}` : ''}): stop it with Ctrl-C first`,
    );
  }
  const left = readJson(sessionFile());
  for (const { name, pid, start } of left?.apps ?? []) {
    if (start === null || startOf(pid) !== start) continue;
    say(`the demo before was killed: ending its ${name} app, process ${pid}`);
    await killProcess(pid);
  }
  saveSession({});
}

/** Written anew whenever an app is started: in the same turn, so that no process is ever running unrecorded. */
export function saveSession(facts) {
  writeJson(sessionFile(), { pid: process.pid, start: startOf(process.pid), ...facts });
}

export function endSession() {
  rmSync(sessionFile(), { force: true });
}
