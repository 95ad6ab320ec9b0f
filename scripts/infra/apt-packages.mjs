// The "apt" way: installs the missing server programs from the distribution, without letting it start any service.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from './lock.mjs';
import { InfraError } from './place.mjs';
import { lackingPrograms } from './private-way.mjs';
import { tailOf } from './processes.mjs';

/** Per kind, the first set that the distribution has. MariaDB's core packages are the server without its service. */
const PACKAGES = {
  databases: [['mariadb-server-core', 'mariadb-client-core'], ['mariadb-server'], ['mysql-server']],
  rabbitmq: [['rabbitmq-server']],
  redis: [['redis-server'], ['valkey-server']],
};

/** Why packages cannot be installed here, or null when they can. */
export function lackingForApt() {
  if (!['/usr/bin/apt-get', '/bin/apt-get'].some((path) => existsSync(path))) return 'apt-get';
  return process.getuid?.() === 0 ? null : 'root, which apt-get needs';
}

export async function installMissing({ state, say }, kinds) {
  const wanting = kinds.filter((kind) => lackingPrograms(state, [kind]).length > 0);
  if (wanting.length === 0) return;
  // One installation at a time on the whole machine: the policy file below is the machine's, too.
  await withLock('/run/nest-dtx-apt.lock', { say, what: 'the packages of this machine' }, async () => {
    const packages = await choosePackages(wanting, say);
    const since = Date.now();
    say(`installing ${packages.join(', ')} with apt-get, services not started`);
    await runQuietly(INSTALL, packages);
    say(`installed in ${((Date.now() - since) / 1000).toFixed(1)} s`);
  });
}

async function choosePackages(kinds, say) {
  let chosen = await Promise.all(kinds.map(available));
  if (chosen.includes(null)) {
    say('refreshing the package lists with apt-get update');
    await runQuietly('exec apt-get -qq -o DPkg::Lock::Timeout=300 update', []);
    chosen = await Promise.all(kinds.map(available));
  }
  const absent = kinds.filter((_, index) => chosen[index] === null);
  if (absent.length > 0) {
    throw new InfraError(
      `the package sources have none of ${absent.flatMap((kind) => PACKAGES[kind].flat()).join(', ')}: add a source, or install by hand`,
    );
  }
  return chosen.flat();
}

async function available(kind) {
  for (const names of PACKAGES[kind]) {
    const { stdout } = await promisify(execFile)('apt-cache', ['policy', ...names], {
      env: { ...process.env, LC_ALL: 'C' },
    });
    if (stdout.match(/Candidate: (?!\(none\))/g)?.length === names.length) return names;
  }
  return null;
}

/**
 * While policy-rc.d answers 101, no package starts its service. A machine's own policy file is set aside and put back,
 * by the shell itself and whatever happens to us. `--no-upgrade` so that nothing which runs already is touched. Disabled
 * at the end, as we only want the programs: the next boot of the machine shall not start what nobody asked for, either.
 */
const INSTALL = `
policy=/usr/sbin/policy-rc.d
aside=$policy.nest-dtx
restore() { rm -f "$policy"; if [ -e "$aside" ]; then mv -f "$aside" "$policy"; fi; }
if [ -e "$policy" ] && [ ! -e "$aside" ]; then mv "$policy" "$aside"; fi
trap restore EXIT
trap '' INT HUP
printf '#!/bin/sh\\nexit 101\\n' >"$policy" && chmod 755 "$policy" || exit 1
apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends --no-upgrade "$@"
code=$?
for package in "$@"; do systemctl disable "$package" >/dev/null 2>&1; done
exit "$code"
`;

async function runQuietly(script, args) {
  const dir = mkdtempSync(join(tmpdir(), 'nest-dtx-apt-'));
  const log = join(dir, 'log');
  writeFileSync(log, '');
  const code = await shell(`exec >"$0" 2>&1\n${script}`, [log, ...args]);
  const said = tailOf(log, 15);
  const stale = /Unable to fetch|404 +Not Found/.test(readFileSync(log, 'utf8'));
  rmSync(dir, { recursive: true, force: true });
  if (code === 0) return;
  if (stale && script === INSTALL) return refreshAndRetry(args);
  throw new InfraError(`apt-get failed:\n${said}`);
}

/** Package lists that are older than the archive name files which are gone. */
async function refreshAndRetry(packages) {
  await runQuietly('exec apt-get -qq -o DPkg::Lock::Timeout=300 update', []);
  await runQuietly(`${INSTALL}# again`, packages);
}

/** Detached, so that Ctrl-C cannot interrupt dpkg in the middle; the shell cleans up by itself. */
const shell = (script, args) =>
  new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script, ...args], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    });
    child.on('error', reject);
    child.on('exit', resolve);
  });
