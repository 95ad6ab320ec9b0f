// A private MariaDB or MySQL server: its folder, its settings and its first data.
import { execFile } from 'node:child_process';
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { InfraError, makePrivateDir, writePrivateFile } from './place.mjs';
import { markFor } from './processes.mjs';

const isRoot = process.getuid?.() === 0;

/** Writes the settings anew at every start, so that a moved repository or a changed port is never a stale file. */
export function prepareDatabase({ dir, server, state, program }) {
  makePrivateDir(dir);
  writePrivateFile(join(dir, 'init.sql'), accounts(state.secrets.database, program.flavour));
  writePrivateFile(join(dir, 'my.cnf'), settings({ dir, server, state, program }));
  return { command: program.server, args: [`--defaults-file=${join(dir, 'my.cnf')}`], log: join(dir, 'server.log') };
}

/** What a server that is killed leaves of its work stays in its own folder. */
const makeTemporaryDir = (dir) => makePrivateDir(join(dir, 'tmp'));

function settings({ dir, server, state, program }) {
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
function accounts(password, flavour) {
  const root = (host) => [
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
export async function createMissingData(dirs, program) {
  const missing = dirs.filter((dir) => !existsSync(join(dir, 'data')));
  if (missing.length === 0) return;
  const fresh = (dir) => join(makePrivateDir(dir), 'data.new'); // renamed when complete: half a data folder is never used
  for (const dir of missing) rmSync(fresh(dir), { recursive: true, force: true });
  const [first, ...others] = missing;
  await runInstall(program, first, fresh(first));
  rmSync(join(fresh(first), 'auto.cnf'), { force: true }); // the identity of a MySQL server: each makes its own
  for (const dir of others) cpSync(fresh(first), fresh(dir), { recursive: true });
  for (const dir of missing) renameSync(fresh(dir), join(dir, 'data'));
}

async function runInstall({ flavour, install }, dir, datadir) {
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
    // If we are ended meanwhile, `down` ends the installation too.
    const env = { ...process.env, TMPDIR: makeTemporaryDir(dir), ...markFor(dir) };
    await promisify(execFile)(install, args, { timeout: 180_000, maxBuffer: 1 << 24, env });
  } catch (error) {
    const said = `${error.stderr ?? ''}${error.stdout ?? ''}`.trim().split('\n').slice(0, 8).join('\n');
    throw new InfraError(`${install} could not make a data folder:\n${said || error.message}`);
  }
}
