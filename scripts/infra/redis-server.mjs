// A private Redis server that keeps what it was told (append-only file) and has a database number for many worlds.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveFolder, leastAccount } from './accounts.mjs';
import { makePrivateDir, writePrivateFile } from './place.mjs';

export const PRIVATE_REDIS_DATABASES = 512;

const confOf = (dir) => join(dir, 'redis.conf');

/** Whether it was last started without a password, by an older version of this file. */
export function isOpenRedis(dir) {
  return existsSync(confOf(dir)) && !/^requirepass /m.test(readFileSync(confOf(dir), 'utf8'));
}

/**
 * It reads its settings from its input and knows its data as the folder that it is in, so it needs no path that leads to
 * them: where we are root, an account without rights can run it, below a home that this account may not enter.
 */
export function prepareRedis({ dir, state, program }) {
  const data = makePrivateDir(join(makePrivateDir(dir), 'data'));
  const conf = confOf(dir);
  const lines = [
    'bind 127.0.0.1',
    `port ${state.ports.redis}`,
    `requirepass ${state.secrets.redis}`,
    'dir ./',
    'daemonize no',
    'set-proc-title no', // a title would overwrite the environment, by which a lost process is found again
    'appendonly yes',
    'save ""',
    `databases ${PRIVATE_REDIS_DATABASES}`,
    '',
  ];
  writePrivateFile(conf, lines.join('\n'));
  const account = giveFolder(data, leastAccount(['redis', 'valkey', 'nobody'], program.server));
  return { command: program.server, args: ['-'], cwd: data, input: conf, account, log: join(dir, 'server.log') };
}
