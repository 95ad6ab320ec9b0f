// A private Redis server that keeps its data (append-only file) and has a database number for each of many sandboxes.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDir, writePrivateFile } from '../infra-files.js';
import type { Program } from '../process/detached-processes.js';
import type { RedisProgram } from './installed-programs.js';
import type { ServerState } from './server-set.js';
import { giveFolder, leastAccount } from './unprivileged-accounts.js';

export const PRIVATE_REDIS_DATABASES = 512;

const confOf = (dir: string) => join(dir, 'redis.conf');

/** Whether it was last started without a password, by an older version of this file. */
export function isOpenRedis(dir: string): boolean {
  return existsSync(confOf(dir)) && !/^requirepass /m.test(readFileSync(confOf(dir), 'utf8'));
}

interface RedisInput {
  readonly dir: string;
  readonly state: ServerState;
  readonly program: RedisProgram;
}

/**
 * It reads its settings from its input and its data from its working folder, so it needs no path to them. If the caller is
 * root, an account without rights can run it, below a home that this account may not enter.
 */
export function prepareRedis({ dir, state, program }: RedisInput): Program {
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
