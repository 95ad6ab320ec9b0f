// Which server programs this machine has. Server binaries often lie outside a user's PATH.
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

const OFTEN = [
  '/usr/sbin',
  '/usr/bin',
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/local/mysql/bin',
  '/opt/homebrew/bin',
  '/opt/homebrew/sbin',
];

function find(names, first = []) {
  const dirs = [...first, ...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...OFTEN];
  for (const name of names) {
    const dir = dirs.find((candidate) => isProgram(join(candidate, name)));
    if (dir) return join(dir, name);
  }
  return null;
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** { flavour, server, install } or { lack }. MariaDB first: a confined mysqld may not write below a home folder. */
export function databaseProgram(flavour) {
  const found = [find(['mariadbd']), find(['mysqld'])].filter(Boolean).map(describeDatabase);
  const usable = found.find((program) => !program.lack && (!flavour || program.flavour === flavour));
  if (usable) return usable;
  if (flavour && !found.some((program) => program.flavour === flavour))
    return { lack: `${flavour} (mysqld or mariadbd), which made the data` };
  return found[0] ?? { lack: 'MariaDB or MySQL (mariadbd or mysqld)' };
}

// Older ones lose prepared XA branches when their session ends.
const OLDEST = { mariadb: [10, 6, 0], mysql: [8, 0, 29] };

function describeDatabase(server) {
  const text = output(server, ['--no-defaults', '--version']);
  const flavour = /mariadb/i.test(text) ? 'mariadb' : 'mysql';
  const version = text
    .match(/(\d+)\.(\d+)\.(\d+)/)
    ?.slice(1)
    .map(Number);
  if (!version) return { flavour, lack: `a working ${server} (its --version says nothing)` };
  if (isOlder(version, OLDEST[flavour])) {
    return { flavour, lack: `${flavour} ${OLDEST[flavour].join('.')} or newer (${server} is ${version.join('.')})` };
  }
  if (flavour === 'mysql') return { flavour, server, install: server };
  const install = find(['mariadb-install-db', 'mysql_install_db'], [dirname(server)]);
  if (!install) return { flavour, lack: 'mariadb-install-db' };
  return find(['my_print_defaults'])
    ? { flavour, server, install }
    : { flavour, lack: 'my_print_defaults, a client program of MariaDB' };
}

const isOlder = (version, oldest) => {
  const at = version.findIndex((part, index) => part !== oldest[index]);
  return at >= 0 && version[at] < oldest[at];
};

/** The broker's own script, not a distribution's wrapper around it, which changes user and folders. */
export function brokerProgram() {
  const server = find(['rabbitmq-server'], ['/usr/lib/rabbitmq/bin', ...versioned('/usr/lib/rabbitmq/lib')]);
  if (!server) return { lack: 'RabbitMQ (rabbitmq-server)' };
  const erl = find(['erl']);
  if (!erl) return { lack: 'Erlang (erl)' };
  const epmd = find(['epmd'], [dirname(erl)]) ?? bundledEpmd(erl);
  return epmd ? { server, epmd } : { lack: 'epmd, which comes with Erlang' };
}

const versioned = (dir) => (existsSync(dir) ? readdirSync(dir).map((entry) => join(dir, entry, 'sbin')) : []);

function bundledEpmd(erl) {
  const root = output(erl, ['-noinput', '-eval', 'io:format("~s", [code:root_dir()]), halt().']);
  const dir = root && existsSync(root) && readdirSync(root).find((entry) => entry.startsWith('erts-'));
  return dir ? find(['epmd'], [join(root, dir, 'bin')]) : null;
}

export function redisProgram() {
  const server = find(['redis-server', 'valkey-server']);
  return server ? { server } : { lack: 'Redis (redis-server)' };
}

function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 20_000 });
  } catch {
    return '';
  }
}
