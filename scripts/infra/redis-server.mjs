// A private Redis server that keeps what it was told (append-only file) and has a database number for many worlds.
import { join } from 'node:path';
import { makePrivateDir, writePrivateFile } from './place.mjs';

export const PRIVATE_REDIS_DATABASES = 512;

export function prepareRedis({ dir, state, program }) {
  makePrivateDir(join(makePrivateDir(dir), 'data'));
  const conf = join(dir, 'redis.conf');
  const lines = [
    'bind 127.0.0.1',
    `port ${state.ports.redis}`,
    `dir "${join(dir, 'data')}"`,
    'daemonize no',
    'set-proc-title no', // a title would overwrite the environment, by which a lost process is found again
    'appendonly yes',
    'save ""',
    `databases ${PRIVATE_REDIS_DATABASES}`,
    '',
  ];
  writePrivateFile(conf, lines.join('\n'));
  return { command: program.server, args: [conf], log: join(dir, 'server.log') };
}
