// Accounts without rights, for servers that need none: only root can give a process another account than its own.
import { execFileSync } from 'node:child_process';
import { chownSync, lchownSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * { uid, gid } of the first of these accounts that the machine has; null where we are not root, it has none of them, or
 * the program lies where only some accounts can reach it.
 */
export function leastAccount(names, program) {
  if (process.getuid?.() !== 0 || !isForAll(program)) return null;
  for (const name of names) {
    const [uid, gid] = [idOf('-u', name), idOf('-g', name)];
    if (uid && gid) return { uid, gid };
  }
  return null;
}

const OTHERS_MAY_READ_AND_RUN = 0o005;
const OTHERS_MAY_PASS = 0o001;

function isForAll(program) {
  const file = realpathSync(program);
  const has = (path, bits) => (statSync(path).mode & bits) === bits;
  if (!has(file, OTHERS_MAY_READ_AND_RUN)) return false;
  for (let dir = dirname(file); dir !== dirname(dir); dir = dirname(dir)) if (!has(dir, OTHERS_MAY_PASS)) return false;
  return true;
}

function idOf(option, name) {
  try {
    return Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return 0;
  }
}

/**
 * Gives a folder of ours, with all that is in it, to the account. Returns the account, or null where the disk does not
 * keep owners: the server then runs as we do.
 */
export function giveFolder(dir, account) {
  if (!account) return null;
  try {
    chownSync(dir, account.uid, account.gid);
    for (const entry of readdirSync(dir, { recursive: true })) lchownSync(join(dir, entry), account.uid, account.gid);
    return account;
  } catch {
    return null;
  }
}
