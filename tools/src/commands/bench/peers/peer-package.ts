// The package of the peers: bench/peers, with an installation and a build of its own. `npm ci` of the repository leaves it out.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../../cli/operator-error.js';
import type { Say } from '../../../cli/say-type.js';
import { ROOT, readJson } from '../../../infra-files.js';
import { PEERS, type Peer } from '../cases.js';
import { runToEnd } from './run-to-end.js';

export const PEERS_DIR = join(ROOT, 'bench', 'peers');
const MODULES = 'node_modules';
const INSTALL_BOUND_MS = 900_000;
const COMPILE_BOUND_MS = 180_000;
/** Ignored scripts: `@scarf/scarf`, which Restate's server depends on, reports each installation from one. */
const INSTALL = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--fetch-retries=1'];

export const mainOf = (peer: Peer, dir = PEERS_DIR): string => join(dir, 'dist', peer, 'main.js');

/** The server program of Restate for this platform. It is a package of its own. */
export const restateProgram = (dir = PEERS_DIR): string =>
  join(dir, MODULES, '@restatedev', `restate-server-${process.platform}-${process.arch}`, 'bin', 'restate-server');

/** @throws OperatorError for an unknown name */
export function peersNamed(names: readonly string[]): readonly Peer[] {
  const unknown = names.find((name) => !PEERS.some((peer) => peer === name));
  if (unknown !== undefined) throw new OperatorError(`unknown peer "${unknown}": --peer takes ${PEERS.join(', ')}`);
  return PEERS.filter((peer) => names.includes(peer));
}

/** The exact versions of the measured packages, with that of their ORM. */
export function versionsOfPeers(dir = PEERS_DIR): Record<Peer, string> {
  const { dependencies = {} } = readJson<{ dependencies?: Record<string, string> }>(join(dir, 'package.json')) ?? {};
  const of = (name: string) => dependencies[name] ?? 'unknown';
  return {
    'nestjs-outbox': `${of('@fullstackhouse/nestjs-outbox')}, TypeORM ${of('typeorm')}`,
    'restate-saga': `server ${of('@restatedev/restate-server')}, SDK ${of('@restatedev/restate-sdk')}`,
  };
}

export interface Preparing {
  readonly say: Say;
  readonly signal: AbortSignal;
  readonly dir?: string;
}

/**
 * Installs what the peers need unless it is there, and compiles them.
 * @throws OperatorError if the registry cannot be reached, or has no Restate server for this platform
 */
export async function preparePeers(peers: readonly Peer[], { say, signal, dir = PEERS_DIR }: Preparing): Promise<void> {
  if (!isInstalled(dir)) await install({ say, signal, dir });
  if (peers.includes('restate-saga') && !existsSync(restateProgram(dir)))
    throw new OperatorError(
      `@restatedev/restate-server has no program for ${process.platform} ${process.arch}: ` +
        'measure the other peer alone with `--peer nestjs-outbox`',
    );
  say('compiling the peers ...');
  const tsc = join(ROOT, MODULES, 'typescript', 'bin', 'tsc');
  const failed = await runToEnd(process.execPath, [tsc, '-b', dir], {
    cwd: dir,
    signal,
    boundMs: COMPILE_BOUND_MS,
  });
  if (failed) throw new OperatorError(`${failed}\nbench/peers cannot be compiled: see the lines above`);
}

async function install({ say, signal, dir }: Required<Preparing>): Promise<void> {
  say('installing the peers into bench/peers/node_modules, about 300 MB. This is needed once ...');
  const since = Date.now();
  const timer = setInterval(() => say(`still installing after ${seconds(since)} s`), 15_000);
  const options = { cwd: dir, signal, boundMs: INSTALL_BOUND_MS };
  const failed = await runToEnd('npm', INSTALL, options).finally(() => clearInterval(timer));
  if (failed)
    throw new OperatorError(
      `${failed}\nthe peers cannot be installed: connect to the npm registry and run the command again, ` +
        'or measure without the peers: leave --peers out',
    );
  writeFileSync(stampOf(dir), wanted(dir));
  say(`installed the peers in ${seconds(since)} s`);
}

const seconds = (since: number) => Math.round((Date.now() - since) / 1_000);

/** Written last, and removed by `npm ci` first: an interrupted installation has none. */
const stampOf = (dir: string) => join(dir, MODULES, '.installed');

const isInstalled = (dir: string) => existsSync(stampOf(dir)) && readFileSync(stampOf(dir), 'utf8') === wanted(dir);

function wanted(dir: string): string {
  const hash = createHash('sha256');
  for (const file of ['package.json', 'package-lock.json']) hash.update(readFileSync(join(dir, file)));
  return `${hash.digest('hex')} ${process.platform} ${process.arch}`;
}
