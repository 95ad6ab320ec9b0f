// The databases and the broker of a deployment, given by URL. Nothing is made on these servers.
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import { askDatabase } from '../servers/database-probe.js';
import { DATABASES, perApp } from '../servers/server-set.js';
import { serverUrlParts } from '../servers/server-url.js';
import { type Databases, openDatabases } from './database-reader.js';
import type { Sandbox } from './sandbox.js';

export type GivenSandbox = Omit<Sandbox, 'redis'>;
type Environment = Readonly<Record<string, string | undefined>>;

const variableOf = (app: string) => `DTX_${app.toUpperCase()}_DATABASE_URL`;

/**
 * Unlike the URLs of servers, those of the databases name the database of each app, as `DTX_DATABASE_URL` of the app does.
 * @param needsBroker whether the queues are read too
 * @throws OperatorError that names the wrong variable, without a password
 */
export function givenSandbox(env: Environment, { needsBroker }: { needsBroker: boolean }): GivenSandbox {
  const databases = perApp((app) => databaseUrl(env, variableOf(app)));
  if (!needsBroker) return { name: 'url', databases, rabbitmq: '', management: '', vhost: '' };
  // Several URLs are nodes of one cluster.
  const given = wanted(env, 'DTX_RABBITMQ_URL').split(',')[0]!.trim();
  const { host, user = 'guest', password = 'guest', path } = partsOf('DTX_RABBITMQ_URL', given);
  const management = env.DTX_RABBITMQ_MANAGEMENT_URL ?? `http://${host}:15672`;
  if (!URL.canParse(management))
    throw new OperatorError('DTX_RABBITMQ_MANAGEMENT_URL is not a URL like http://user:password@host:15672');
  const api = new URL(management);
  api.username ||= encodeURIComponent(user);
  api.password ||= encodeURIComponent(password);
  return { name: 'url', databases, rabbitmq: given, management: api.href.replace(/\/$/, ''), vhost: path || '/' };
}

function databaseUrl(env: Environment, variable: string): string {
  const url = wanted(env, variable);
  if (!/^(mysql|mariadb):/.test(url))
    throw new OperatorError(`${variable} is not a URL like mysql://user:password@host:port/database`);
  if (partsOf(variable, url).path === '')
    throw new OperatorError(`${variable} names no database: expected mysql://user:password@host:port/database`);
  return url.replace(/^mariadb:/, 'mysql:');
}

function wanted(env: Environment, variable: string): string {
  const value = env[variable];
  if (!value) throw new OperatorError(`${variable} is not set: --of url audits the deployment that DTX_*_URL name`);
  return value;
}

function partsOf(variable: string, url: string) {
  try {
    return serverUrlParts(url);
  } catch (error) {
    throw new OperatorError(`${variable} is not a usable URL: ${messageOf(error)}`);
  }
}

/**
 * Opens the databases of a deployment.
 * @throws OperatorError that names each database that does not answer or does not exist
 */
export async function openGiven({ databases }: GivenSandbox): Promise<Databases> {
  const failures: string[] = [];
  for (const app of DATABASES) {
    await askDatabase(databases[app]).catch((error: unknown) =>
      failures.push(`${variableOf(app)}: ${new URL(databases[app]).host} says: ${messageOf(error)}`),
    );
  }
  if (failures.length > 0)
    throw new OperatorError(`cannot audit: ${failures.join('; ')}. Correct the URL, or start the server`);
  return openDatabases({ databases });
}
