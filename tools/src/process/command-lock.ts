// Locks between commands. The lock of a process that died is broken.
import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { makePrivateDir } from '../infra-files.js';
import { startOf } from './detached-processes.js';

interface Owner {
  pid: number;
  start: string | null;
  id: string;
}

/** Runs `work` while this process holds the lock. `what` names the locked thing for an operator who has to wait. */
export async function withLock<T>(
  path: string,
  { say, what, boundMs = 600_000 }: { say: Say; what: string; boundMs?: number },
  work: () => T | Promise<T>,
): Promise<T> {
  makePrivateDir(dirname(path));
  const mine: Owner = { pid: process.pid, start: startOf(process.pid), id: randomUUID() };
  const end = Date.now() + boundMs;
  for (let told = false; !take(path, mine); await sleep(100)) {
    const holder = holderOf(path);
    if (holder && !isAlive(ownerIn(holder))) breakLock(path, holder);
    else if (holder && !told) {
      told = true;
      say(`waiting for process ${ownerIn(holder).pid}, which is working on ${what}`);
    }
    if (Date.now() > end) {
      throw new OperatorError(
        `${what} stayed locked for ${boundMs / 1000} s: end the process named in ${path}, then try again`,
      );
    }
  }
  try {
    return await work();
  } finally {
    if (holderOf(path) === JSON.stringify(mine)) rmSync(path, { force: true });
  }
}

/** link() creates the lock with its content in one step, so a reader never sees an empty lock. */
function take(path: string, mine: Owner): boolean {
  const beside = `${path}.${mine.id}`;
  writeFileSync(beside, JSON.stringify(mine), { mode: 0o600 });
  try {
    linkSync(beside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(beside, { force: true });
  }
}

function holderOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

const ownerIn = (holder: string) => JSON.parse(holder) as Owner;
const isAlive = ({ pid, start }: Owner) => startOf(pid) === start;

/** Renamed first and looked at again: two processes that break the same stale lock must not remove the new lock. */
function breakLock(path: string, stale: string): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return; // another process was faster
  }
  if (readFileSync(aside, 'utf8') !== stale) {
    try {
      linkSync(aside, path);
    } catch {} // taken meanwhile: its holder checks before it removes
  }
  rmSync(aside, { force: true });
}
