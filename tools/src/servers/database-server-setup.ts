// A private MariaDB or MySQL server: its folder, its settings and its first data.

import { execFile } from 'node:child_process';
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../cli/operator-error.js';
import { makePrivateDir, writePrivateFile } from '../infra-files.js';
import { markFor, type Program } from '../process/detached-processes.js';
import type { DatabaseProgram } from './installed-programs.js';
import type { App, Flavour, ServerState } from './server-set.js';

const isRoot = process.getuid?.() === 0;

interface DatabaseInput {
  readonly dir: string;
  readonly server: App;
  readonly state: Pick<ServerState, 'ports' | 'secrets'>;
  readonly program: DatabaseProgram;
}

/** Writes the settings at every start, so that a moved repository or a changed port never leaves a stale file. */
export function prepareDatabase({ dir, server, state, program }: DatabaseInput): Program {
  makePrivateDir(dir);
  writePrivateFile(join(dir, 'init.sql'), accounts(state.secrets.database ?? '', program.flavour));
  writePrivateFile(join(dir, 'my.cnf'), settings({ dir, server, state, program }));
  return { command: program.server, args: [`--defaults-file=${join(dir, 'my.cnf')}`], log: join(dir, 'server.log') };
}

/** Temporary files of a killed server stay in its own folder. */
const makeTemporaryDir = (dir: string) => makePrivateDir(join(dir, 'tmp'));

function settings({ dir, server, state, program }: DatabaseInput): string {
  return [
    '[mysqld]',
    `datadir=${join(dir, 'data')}`,
    'socket=mysqld.sock', // in the data folder: an absolute path may be longer than the kernel takes
    `tmpdir=${makeTemporaryDir(dir)}`,
    `pid-file=${join(dir, 'mysqld.pid')}`,
    `init-file=${join(dir, 'init.sql')}`,
    `port=${state.ports[server]}`,
    'bind-address=127.0.0.1',
    'skip-name-resolve',
    ...(isRoot ? ['user=root'] : []),
    // Durable: a commit that was answered survives a crash. MariaDB keeps no binary log unless asked, so there is none
    // to sync; MySQL keeps one, and takes part in every commit with it.
    'innodb_flush_log_at_trx_commit=1',
    'sync_binlog=1',
    'character-set-server=utf8mb4',
    'max_connections=500',
    'performance_schema=OFF',
    'innodb_buffer_pool_size=128M',
    'key_buffer_size=8M',
    ...(program.flavour === 'mysql' ? ['mysqlx=OFF'] : ['aria_pagecache_buffer_size=8M']),
    '',
  ].join('\n');
}

/**
 * Run by the server at each start before it listens: the password holds from the first connection on. MariaDB's
 * installation adds an account of root under the machine's name, without a password.
 */
function accounts(password: string, flavour: Flavour): string {
  const root = (host: string) => [
    `CREATE USER IF NOT EXISTS 'root'@'${host}' IDENTIFIED BY '${password}';`,
    `ALTER USER 'root'@'${host}' IDENTIFIED BY '${password}';`,
    `GRANT ALL PRIVILEGES ON *.* TO 'root'@'${host}' WITH GRANT OPTION;`,
  ];
  const others = "(User = 'root' AND Host NOT IN ('127.0.0.1', 'localhost')) OR User = ''";
  const dropped =
    flavour === 'mysql'
      ? ["DROP USER IF EXISTS 'root'@'::1';"]
      : [`DELETE FROM mysql.global_priv WHERE ${others};`, 'FLUSH PRIVILEGES;'];
  return `${[...root('127.0.0.1'), ...root('localhost'), ...dropped].join('\n')}\n`;
}

/** Creates the data of the servers that have none: made once, then copied, because making it takes seconds each. */
export async function createMissingData(dirs: readonly string[], program: DatabaseProgram): Promise<void> {
  const missing = dirs.filter((dir) => !existsSync(join(dir, 'data')));
  const [first, ...others] = missing;
  if (!first) return;
  const fresh = (dir: string) => join(makePrivateDir(dir), 'data.new'); // renamed once it is complete
  for (const dir of missing) rmSync(fresh(dir), { recursive: true, force: true });
  await runInstall(program, first, fresh(first));
  rmSync(join(fresh(first), 'auto.cnf'), { force: true }); // the identity of a MySQL server: each makes its own
  for (const dir of others) cpSync(fresh(first), fresh(dir), { recursive: true });
  for (const dir of missing) renameSync(fresh(dir), join(dir, 'data'));
}

async function runInstall({ flavour, install }: DatabaseProgram, dir: string, datadir: string): Promise<void> {
  const user = isRoot ? ['--user=root'] : [];
  const args =
    flavour === 'mysql'
      ? ['--no-defaults', '--initialize-insecure', `--datadir=${datadir}`, ...user]
      : [
          '--no-defaults',
          `--datadir=${datadir}`,
          '--auth-root-authentication-method=normal',
          '--skip-test-db',
          ...user,
        ];
  try {
    // If this process ends meanwhile, `down` finds and ends the installation by its mark.
    const env = { ...process.env, TMPDIR: makeTemporaryDir(dir), ...markFor(dir) };
    await promisify(execFile)(install, args, { timeout: 180_000, maxBuffer: 1 << 24, env });
  } catch (error) {
    const { stderr = '', stdout = '', message } = error as Error & { stderr?: string; stdout?: string };
    const printed = `${stderr}${stdout}`.trim().split('\n').slice(0, 8).join('\n');
    throw new OperatorError(
      `${install} could not make ${datadir}; check disk space and rights:\n${printed || message}`,
    );
  }
}
