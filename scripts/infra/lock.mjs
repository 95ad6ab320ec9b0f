// One command at a time works on a set of servers; the lock of a process that died is broken.

import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InfraError, makePrivateDir } from './place.mjs';
import { startOf } from './processes.mjs';

export async function withLock(path, { say, what, boundMs = 600_000 }, work) {
  makePrivateDir(dirname(path));
  const mine = JSON.stringify({ pid: process.pid, start: startOf(process.pid), id: randomUUID() });
  const end = Date.now() + boundMs;
  for (let told = false; !take(path, mine); await sleep(100)) {
    const holder = holderOf(path);
    if (holder && !alive(holder)) breakLock(path, holder);
    else if (holder && !told) {
      told = true;
      say(`waiting for process ${JSON.parse(holder).pid}, which is working on ${what}`);
    }
    if (Date.now() > end) {
      throw new InfraError(
        `${what} stayed locked for ${boundMs / 1000} s: end the process named in ${path}, then try again`,
      );
    }
  }
  try {
    return await work();
  } finally {
    if (holderOf(path) === mine) rmSync(path, { force: true });
  }
}

/** link() creates the lock with its content in one step, so nobody ever reads an empty one. */
function take(path, mine) {
  const beside = `${path}.${JSON.parse(mine).id}`;
  writeFileSync(beside, mine, { mode: 0o600 });
  try {
    linkSync(beside, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(beside, { force: true });
  }
}

function holderOf(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function alive(holder) {
  const { pid, start } = JSON.parse(holder);
  return startOf(pid) === start;
}

/** Renamed first and looked at again: two who break the same stale lock must not remove the winner's new one. */
function breakLock(path, stale) {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return; // another one was faster
  }
  if (readFileSync(aside, 'utf8') !== stale) {
    try {
      linkSync(aside, path);
    } catch {} // taken meanwhile: its holder checks before it removes
  }
  rmSync(aside, { force: true });
}
