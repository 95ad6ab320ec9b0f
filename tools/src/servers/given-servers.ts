// DTX_INFRA=url: servers that are run elsewhere and named by DTX_*_URL. Sandboxes are made on them. They are never stopped.
import { setTimeout as sleep } from 'node:timers/promises';
import { problemOfBrokerUrls } from 'nest-dtx';
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { answeringNode } from './broker-probe.js';
import { probe } from './readiness.js';
import {
  isApp,
  type Kind,
  perApp,
  type Server,
  type ServerSet,
  type ServerState,
  type ServerUrls,
  serversOf,
} from './server-set.js';
import { serverUrlParts } from './server-url.js';

const VARIABLES: Record<Server, string> = {
  ...perApp((app) => `DTX_${app.toUpperCase()}_DATABASE_URL`),
  rabbitmq: 'DTX_RABBITMQ_URL',
  redis: 'DTX_REDIS_URL',
};
const protocolsOf = (server: Server): readonly string[] => {
  if (isApp(server)) return ['mysql:', 'mariadb:'];
  return server === 'rabbitmq' ? ['amqp:', 'amqps:'] : ['redis:', 'rediss:'];
};

const variablesOf = (kind: Kind) => serversOf([kind]).map((server) => VARIABLES[server]);
const isSet = (variable: string) => Boolean(process.env[variable]);

/** Whether all variables of the kind are set. Setting some of the three databases is a mistake, never a choice. */
export function isGiven(kind: Kind): boolean {
  const absent = variablesOf(kind).filter((variable) => !isSet(variable));
  if (absent.length > 0 && absent.length < variablesOf(kind).length)
    throw new OperatorError(
      `the databases are given only in part: set ${absent.join(' and ')} too, or none of the three`,
    );
  return absent.length === 0;
}

export const lackingUrls = (kinds: readonly Kind[]): string[] =>
  kinds.flatMap(variablesOf).filter((variable) => !isSet(variable));

export async function startGiven({ state, say }: ServerSet, kinds: readonly Kind[]): Promise<void> {
  state.given ??= {};
  for (const kind of kinds) state.given[kind] = await readGiven(kind);
  await Promise.all(serversOf(kinds).map((server) => checkGiven(state, server, say)));
}

export const givenUrls = (state: ServerState, kind: Kind): Partial<ServerUrls> => state.given?.[kind] ?? {};

async function readGiven(kind: Kind): Promise<Partial<ServerUrls>> {
  if (kind === 'redis') return { redis: serverUrl('redis').replace(/\/$/, '') };
  if (kind === 'rabbitmq') {
    const broker = new URL(await brokerUrl());
    broker.username ||= 'guest'; // RabbitMQ's own default for a URL without credentials
    broker.password ||= 'guest';
    return { rabbitmq: broker.href, management: managementUrl(broker) };
  }
  return { databases: perApp(serverUrl) };
}

/** Of several nodes the first one that answers. Without its path, as below. */
async function brokerUrl(): Promise<string> {
  const urls = process.env[VARIABLES.rabbitmq] ?? '';
  const problem = problemOfBrokerUrls(urls);
  if (problem !== null) throw new OperatorError(`${VARIABLES.rabbitmq} is wrong: ${problem}`);
  return Object.assign(new URL(await answeringNode(urls)), { pathname: '' }).href;
}

/** Without its path: a sandbox chooses database, vhost and number on the server. */
function serverUrl(server: Server): string {
  const variable = VARIABLES[server];
  const protocols = protocolsOf(server);
  const given = process.env[variable] ?? '';
  const invalid = (reason: string) =>
    new OperatorError(`${variable} is not a URL like ${protocols[0]}//user:password@host:port: ${reason}`);
  try {
    serverUrlParts(given);
  } catch (error) {
    throw invalid(messageOf(error));
  }
  const url = new URL(given);
  if (!protocols.includes(url.protocol)) throw invalid(`its protocol must be ${protocols.join(' or ')}`);
  url.pathname = '';
  return url.href.replace(/^mariadb:/, 'mysql:');
}

function managementUrl({ username, password, hostname }: URL): string {
  const given = process.env.DTX_RABBITMQ_MANAGEMENT_URL;
  if (!given) return `http://${username}:${password}@${hostname}:15672`;
  if (!URL.canParse(given))
    throw new OperatorError('DTX_RABBITMQ_MANAGEMENT_URL is not a URL like http://user:password@host:15672');
  const url = new URL(given);
  url.username ||= username;
  url.password ||= password;
  return url.href.replace(/\/$/, '');
}

const PATIENCE_MS = 15_000; // a server may have been started a moment ago

async function checkGiven(state: ServerState, server: Server, say: Say): Promise<void> {
  const urls: Partial<ServerUrls> = Object.assign({}, ...Object.values(state.given ?? {}));
  const { host } = new URL(isApp(server) ? urls.databases![server] : urls[server]!);
  for (const end = Date.now() + PATIENCE_MS; ; await sleep(250)) {
    const failure: unknown = await probe(server, urls).then(
      () => null,
      (error: unknown) => error,
    );
    if (!failure) return say(`${server} answers at ${host}`);
    if (isAnswer(failure) || Date.now() > end)
      throw new OperatorError(
        `${hint(server)}: ${host} says: ${messageOf(failure)}. Correct the URL, or start that server`,
      );
  }
}

/** An error that a database server has sent, such as a wrong password. Errors of the network have no SQL state. */
const isAnswer = (failure: unknown) => Boolean((failure as { sqlState?: string }).sqlState);

const hint = (server: Server) =>
  server === 'rabbitmq' ? `${VARIABLES.rabbitmq} (or DTX_RABBITMQ_MANAGEMENT_URL)` : VARIABLES[server];
