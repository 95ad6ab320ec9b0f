// DTX_INFRA=apt: installs the missing server programs from the distribution. No service is started.

import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { makePrivateDir, ROOT, writePrivateFile } from '../infra-files.js';
import { tailOf } from '../process/detached-processes.js';
import { HEAL, INSTALL, UPDATE } from './apt-script.js';
import { lackingPrograms } from './local-servers.js';
import type { Kind, ServerSet } from './server-set.js';

/** Package names, in the order in which they are tried: the first set that the distribution has. */
export type Choices = readonly (readonly string[])[];

/** MariaDB's core packages are the server without its service. */
export const PACKAGES: Record<Kind, Choices> = {
  databases: [['mariadb-server-core', 'mariadb-client-core'], ['mariadb-server'], ['mysql-server']],
  rabbitmq: [['rabbitmq-server']],
  redis: [['redis-server'], ['valkey-server']],
};

/** The machine's own files: its policy on starting services, and a folder that every installer of packages can lock. */
const MACHINE = { policy: '/usr/sbin/policy-rc.d', lock: '/var/lib/dpkg' };
/** In this clone. A set of servers cannot have this name. */
const DIR = join(ROOT, '.infra', '.apt');
/** Lists the packages of an installation that is under way, or was killed. */
const MARK = join(DIR, 'under-way');

/** Why packages cannot be installed here, or null when they can. */
export function lackingForApt(): string | null {
  if (!['/usr/bin/apt-get', '/bin/apt-get'].some((path) => existsSync(path))) return 'apt-get';
  return process.getuid?.() === 0 ? null : 'root, which apt-get needs';
}

export async function installMissing({ state, say }: ServerSet, kinds: readonly Kind[]): Promise<void> {
  const wanting = kinds.filter((kind) => lackingPrograms(state, [kind]).length > 0);
  if (wanting.length === 0) return;
  await installFirstOf(
    wanting.map((kind) => PACKAGES[kind]),
    say,
  );
}

/** Installs one set of packages of each choice. @throws OperatorError if the package sources have none of a choice */
export async function installFirstOf(choices: readonly Choices[], say: Say): Promise<void> {
  await install(await choosePackages(choices, say), say);
}

/** After a kill in the middle packages may be unpacked but not set up, or the next boot may start their services. */
export async function completeInterrupted(say: Say): Promise<void> {
  if (!existsSync(MARK) || lackingForApt()) return;
  say('an installation of packages was interrupted: completing it');
  await install(readFileSync(MARK, 'utf8').split('\n').filter(Boolean), say);
}

async function install(packages: readonly string[], say: Say): Promise<void> {
  const since = Date.now();
  say(`installing ${packages.join(', ')} with apt-get, services not started`);
  await runQuietly(INSTALL, packages);
  say(`installed in ${((Date.now() - since) / 1000).toFixed(1)} s`);
}

async function choosePackages(choices: readonly Choices[], say: Say): Promise<string[]> {
  let chosen = await Promise.all(choices.map(available));
  if (chosen.includes(null)) {
    say('refreshing the package lists with apt-get update');
    await runQuietly(UPDATE, []);
    chosen = await Promise.all(choices.map(available));
  }
  const absent = choices.filter((_, index) => chosen[index] === null);
  if (absent.length > 0) {
    throw new OperatorError(
      `the package sources have none of ${absent.flat(2).join(', ')}: add a source, or install by hand`,
    );
  }
  return chosen.flatMap((names) => names ?? []);
}

async function available(choices: Choices): Promise<readonly string[] | null> {
  for (const names of choices) {
    const { stdout } = await promisify(execFile)('apt-cache', ['policy', ...names], {
      env: { ...process.env, LC_ALL: 'C' },
    });
    if (stdout.match(/Candidate: (?!\(none\))/g)?.length === names.length) return names;
  }
  return null;
}

async function runQuietly(script: string, packages: readonly string[], { isAgain = false } = {}): Promise<void> {
  const log = join(makePrivateDir(DIR), 'log');
  writePrivateFile(log, '');
  const code = await runScript(script, packages, { ...MACHINE, mark: MARK, log });
  if (code === 0) return;
  const stale = /Unable to fetch|404 +Not Found/.test(readFileSync(log, 'utf8'));
  const printed = tailOf(log, 15);
  if (code === null) await runScript(HEAL, [], { ...MACHINE, mark: MARK, log });
  if (!stale || script !== INSTALL || isAgain) throw new OperatorError(`apt-get failed:\n${printed}`);
  // Package lists that are older than the archive name files that no longer exist.
  await runQuietly(UPDATE, []);
  await runQuietly(INSTALL, packages, { isAgain: true });
}

interface ScriptFiles {
  readonly policy: string;
  readonly lock: string;
  readonly mark: string;
  readonly log: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a script of apt-script.ts to its end. Detached, so that Ctrl-C cannot interrupt dpkg in the middle, and in a session
 * of its own, by which its policy knows that it lives. Resolves with its exit code, or null if it was killed.
 */
export function runScript(
  script: string,
  packages: readonly string[],
  { policy, lock, mark, log, env = {} }: ScriptFiles,
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', `exec >>"$0" 2>&1\n${script}`, log, policy, lock, mark, ...packages], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, ...env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    });
    child.on('error', reject);
    child.on('exit', resolve);
  });
}
