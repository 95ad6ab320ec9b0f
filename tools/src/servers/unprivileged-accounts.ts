// Accounts without rights, for servers that need none. Only root can give a process another account than its own.
import { execFileSync } from 'node:child_process';
import { chownSync, lchownSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Account } from '../process/detached-processes.js';

/**
 * The first of these accounts that the machine has. Null if this process is not root, none of them exists, or the program
 * lies where only some accounts can reach it.
 */
export function leastAccount(names: readonly string[], program: string): Account | null {
  if (process.getuid?.() !== 0 || !isForAll(program)) return null;
  for (const name of names) {
    const [uid, gid] = [idOf('-u', name), idOf('-g', name)];
    if (uid && gid) return { uid, gid };
  }
  return null;
}

const OTHERS_MAY_READ_AND_RUN = 0o005;
const OTHERS_MAY_PASS = 0o001;

function isForAll(program: string): boolean {
  const file = realpathSync(program);
  const has = (path: string, bits: number) => (statSync(path).mode & bits) === bits;
  if (!has(file, OTHERS_MAY_READ_AND_RUN)) return false;
  for (let dir = dirname(file); dir !== dirname(dir); dir = dirname(dir)) if (!has(dir, OTHERS_MAY_PASS)) return false;
  return true;
}

function idOf(option: '-u' | '-g', name: string): number {
  try {
    return Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return 0;
  }
}

/**
 * Gives a folder with its contents to the account. Returns the account, or null if the disk does not keep owners: the
 * server then runs with the rights of the caller.
 */
export function giveFolder(dir: string, account: Account | null): Account | null {
  if (!account) return null;
  try {
    chownSync(dir, account.uid, account.gid);
    for (const entry of readdirSync(dir, { recursive: true, encoding: 'utf8' }))
      lchownSync(join(dir, entry), account.uid, account.gid);
    return account;
  } catch {
    return null;
  }
}
