// The "url" way: servers that somebody else runs, named by DTX_*_URL. We create worlds on them and stop nothing.
import { DATABASES, InfraError, serversOf } from './place.mjs';
import { probe } from './readiness.mjs';
import { serverUrlParts } from './server-url.mjs';

const DATABASE_VARIABLES = Object.fromEntries(
  DATABASES.map((server) => [server, `DTX_${server.toUpperCase()}_DATABASE_URL`]),
);
const VARIABLES = { ...DATABASE_VARIABLES, rabbitmq: 'DTX_RABBITMQ_URL', redis: 'DTX_REDIS_URL' };
const PROTOCOLS = { rabbitmq: ['amqp:', 'amqps:'], redis: ['redis:', 'rediss:'] };
const DATABASE_PROTOCOLS = ['mysql:', 'mariadb:'];

const variablesOf = (kind) => serversOf([kind]).map((server) => VARIABLES[server]);
const isSet = (variable) => Boolean(process.env[variable]);

/** All variables of the kind are there. Some of the three databases without the others is a mistake, never a choice. */
export function isGiven(kind) {
  const absent = variablesOf(kind).filter((variable) => !isSet(variable));
  if (absent.length > 0 && absent.length < variablesOf(kind).length) {
    throw new InfraError(`the databases are given only in part: set ${absent.join(' and ')} too, or none of the three`);
  }
  return absent.length === 0;
}

export const lackingUrls = (kinds) => kinds.flatMap(variablesOf).filter((variable) => !isSet(variable));

export async function startGiven({ state, say }, kinds) {
  state.given ??= {};
  for (const kind of kinds) state.given[kind] = readGiven(kind);
  await Promise.all(serversOf(kinds).map((server) => checkGiven(state, server, say)));
}

export const givenUrls = (state, kind) => state.given[kind];

function readGiven(kind) {
  if (kind === 'redis') return { redis: serverUrl('redis').replace(/\/$/, '') };
  if (kind === 'rabbitmq') {
    const broker = new URL(serverUrl('rabbitmq'));
    broker.username ||= 'guest'; // what RabbitMQ itself takes a URL without credentials to mean
    broker.password ||= 'guest';
    const rabbitmq = broker.href;
    return { rabbitmq, management: managementUrl(broker) };
  }
  return { databases: Object.fromEntries(DATABASES.map((server) => [server, serverUrl(server)])) };
}

/** Without its path: which database, vhost or number is used on the server is a world's business. */
function serverUrl(server) {
  const variable = VARIABLES[server];
  const protocols = PROTOCOLS[server] ?? DATABASE_PROTOCOLS;
  const no = (why) => new InfraError(`${variable} is not a URL like ${protocols[0]}//user:password@host:port: ${why}`);
  try {
    serverUrlParts(process.env[variable]);
  } catch (error) {
    throw no(error.message);
  }
  const url = new URL(process.env[variable]);
  if (!protocols.includes(url.protocol)) throw no(`its protocol must be ${protocols.join(' or ')}`);
  url.pathname = '';
  return url.href.replace(/^mariadb:/, 'mysql:');
}

function managementUrl({ username, password, hostname }) {
  const given = process.env.DTX_RABBITMQ_MANAGEMENT_URL;
  if (!given) return `http://${username}:${password}@${hostname}:15672`;
  if (!URL.canParse(given))
    throw new InfraError('DTX_RABBITMQ_MANAGEMENT_URL is not a URL like http://user:password@host:15672');
  const url = new URL(given);
  url.username ||= username;
  url.password ||= password;
  return url.href.replace(/\/$/, '');
}

const PATIENCE_MS = 15_000; // a server that was just started by somebody else; not one that is away

async function checkGiven(state, server, say) {
  const servers = Object.assign({}, ...Object.values(state.given));
  const url = new URL(servers.databases?.[server] ?? servers[server]);
  for (const end = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 250))) {
    const failure = await probe(server, servers).then(
      () => null,
      (error) => error,
    );
    if (!failure) return say(`${server} answers at ${url.host}`);
    if (failure.errno || Date.now() > end)
      throw new InfraError(
        `${hint(server)}: ${url.host} says: ${failure.message}. Correct the URL, or start that server`,
      );
  }
}

const hint = (server) =>
  server === 'rabbitmq' ? `${VARIABLES.rabbitmq} (or DTX_RABBITMQ_MANAGEMENT_URL)` : VARIABLES[server];
