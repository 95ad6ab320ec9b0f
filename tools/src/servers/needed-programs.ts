// Programs for servers of a test's own. They run on this machine even if the servers of the run are containers or given.
import { existsSync } from 'node:fs';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { type Choices, completeInterrupted, installFirstOf, lackingForApt, PACKAGES } from './apt-packages.js';
import {
  type BrokerProgram,
  brokerProgram,
  type DatabaseProgram,
  databaseProgram,
  isLack,
  type Lack,
} from './installed-programs.js';

interface Needed<T> {
  /** What needs it, such as `a cluster`. */
  readonly what: string;
  readonly find: () => T | Lack;
  readonly packages: Choices;
  readonly say: Say;
}

/** Installs missing packages as for the servers of a run: with apt, and without starting a service. */
async function needed<T extends object>({ what, find, packages, say }: Needed<T>): Promise<T> {
  const found = find();
  if (!isLack(found)) return found;
  const aptLack = lackingForApt();
  if (aptLack)
    throw new OperatorError(
      `${what} needs ${found.lack} on this machine: install it, or run as root on Debian or Ubuntu (lacks ${aptLack})`,
    );
  await completeInterrupted(say);
  await installFirstOf([packages], say);
  const installed = find();
  if (isLack(installed)) throw new OperatorError(`${what} needs ${installed.lack} on this machine: install it`);
  return installed;
}

/** @throws OperatorError if RabbitMQ is missing and cannot be installed here */
export const neededBroker = (what: string, say: Say): Promise<BrokerProgram> =>
  needed({ what, find: brokerProgram, packages: PACKAGES.rabbitmq, say });

/** @throws OperatorError if MariaDB and MySQL are missing and cannot be installed here */
export const neededDatabase = (what: string, say: Say): Promise<DatabaseProgram> =>
  needed({ what, find: () => databaseProgram(undefined), packages: PACKAGES.databases, say });

/** @throws OperatorError if this machine has MySQL, or MariaDB cannot be installed. It could replace an installed MySQL */
export async function neededMariaDb(what: string, say: Say): Promise<DatabaseProgram> {
  const program = await neededDatabase(what, say);
  if (program.flavour === 'mariadb') return program;
  throw new OperatorError(`${what} needs MariaDB, and this machine has ${program.server}: install MariaDB instead`);
}

/** Where distributions put the library: Debian and Ubuntu, Fedora, openSUSE. */
const PROVIDERS = [
  '/usr/lib/galera/libgalera_smm.so',
  '/usr/lib64/galera/libgalera_smm.so',
  '/usr/lib64/galera-4/libgalera_smm.so',
];

/**
 * The path of the Galera library, which MariaDB does not need otherwise.
 * @throws OperatorError if it is missing and cannot be installed here
 */
export async function neededGalera(what: string, say: Say): Promise<string> {
  const find = (): { path: string } | Lack => {
    const path = PROVIDERS.find((one) => existsSync(one));
    return path === undefined ? { lack: 'the library of galera-4' } : { path };
  };
  return (await needed({ what, find, packages: [['galera-4']], say })).path;
}

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/snap/bin/chromium'];

/**
 * The path of a Chromium.
 * @throws OperatorError if it is missing and cannot be installed here
 */
export async function neededChromium(what: string, say: Say): Promise<string> {
  const find = (): { path: string } | Lack => {
    const path = BROWSERS.find((one) => existsSync(one));
    return path === undefined ? { lack: 'Chromium' } : { path };
  };
  const packages = [['chromium', 'fonts-noto-cjk'], ['chromium']];
  return (await needed({ what, find, packages, say })).path;
}
