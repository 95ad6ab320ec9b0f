import { OptionsError } from './errors/errors.js';

/** The kind of server. It determines the protocols, the default port and the meaning of the path. */
export type ServerKind = 'database' | 'broker' | 'redis';

/** The decoded parts of a server URL, as a driver takes them. */
export interface ServerUrl {
  /** Without the colon: `mysql`, `mariadb`, `amqp`, `amqps`, `redis`, `rediss`. */
  readonly protocol: string;
  /** A host name or an address. An IPv6 address has no brackets. */
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Database, virtual host or number of a Redis database. Empty if the URL names none. */
  readonly path: string;
  /** The query parameters, such as `ssl`. Their meaning depends on the driver. */
  readonly query: Readonly<Record<string, string>>;
}

interface Rules {
  /** Protocols with their default ports. */
  readonly ports: Readonly<Record<string, number>>;
  readonly example: string;
  readonly path: RegExp;
  readonly pathIs: string;
}

const RULES: Record<ServerKind, Rules> = {
  database: {
    ports: { mysql: 3306, mariadb: 3306 },
    example: 'mysql://user:password@host:3306/database',
    path: /^.+$/s,
    pathIs: 'the name of a database',
  },
  broker: {
    ports: { amqp: 5672, amqps: 5671 },
    example: 'amqp://user:password@host:5672/vhost',
    path: /^.*$/s,
    pathIs: 'a virtual host',
  },
  redis: {
    ports: { redis: 6379, rediss: 6379 },
    example: 'redis://user:password@host:6379/0',
    path: /^\d{0,5}$/,
    pathIs: 'the number of a database, or nothing',
  },
};

const URL_CHARS_MAX = 4_096;
const OPTION_NAME = /^[A-Za-z][A-Za-z0-9_.-]*$/;

/**
 * Parses the URL of a server. Library and apps parse every server URL here and pass the parts to the drivers. The
 * drivers have their own parsers, which differ for IPv6 addresses and for encoded passwords.
 * @throws OptionsError with one line that completes a sentence ("... must be a URL like ...") and omits the value
 * @example
 *   parseServerUrl('redis', 'redis://cache/2'); // { protocol: 'redis', host: 'cache', port: 6379, path: '2', ... }
 */
export function parseServerUrl(kind: ServerKind, text: string): ServerUrl {
  const { ports, example, path, pathIs } = RULES[kind];
  const no = (why: string) => new OptionsError(`must be a URL like ${example}: ${why}`);
  if (text.length > URL_CHARS_MAX) throw no(`it has more than ${URL_CHARS_MAX} characters`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const encode = 'a special character in user, password or path must be percent-encoded';
  if (!url) throw no(`it cannot be read (${encode})`);
  const protocol = url.protocol.slice(0, -1);
  const names = Object.keys(ports).join(' or ');
  if (!Object.hasOwn(ports, protocol)) throw no(`its protocol must be ${names}`);
  if (url.hostname === '') throw no('it has no host');
  // A password with an unencoded "#", "?" or "/" parses into these parts, with another host.
  if (url.hash !== '' || url.pathname.includes('@')) throw no(`it has parts that do not belong to it (${encode})`);
  const query = Object.fromEntries(url.searchParams);
  if (!Object.keys(query).every((name) => OPTION_NAME.test(name))) throw no(`its options have no names (${encode})`);
  const decode = (part: string, what: string) => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw no(`its ${what} is not percent-encoded UTF-8 (a "%" itself is %25)`);
    }
  };
  const parts = {
    protocol,
    host: decode(url.hostname, 'host').replace(/^\[|\]$/g, ''),
    port: Number(url.port) || ports[protocol]!,
    user: decode(url.username, 'user') || undefined,
    password: decode(url.password, 'password') || undefined,
    path: decode(url.pathname.slice(1), 'path'),
    query,
  };
  if (!path.test(parts.path)) throw no(`its path must be ${pathIs}`);
  return parts;
}

/**
 * Returns the problem of a URL, or null for a valid URL. For options that name themselves in the error.
 * @example
 *   problemOfServerUrl('broker', 'amqp://mq:5672/shop'); // null
 */
export function problemOfServerUrl(kind: ServerKind, text: string): string | null {
  try {
    parseServerUrl(kind, text);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * The address of a database as options of a TypeORM DataSource: `{ type: 'mysql', ...databaseAddress(url) }` instead of
 * `{ type: 'mysql', url }`.
 * @throws OptionsError as `parseServerUrl`
 * @example
 *   TypeOrmModule.forRoot({ type: 'mysql', ...databaseAddress('mysql://app:secret@db:3306/orders') })
 */
export function databaseAddress(url: string) {
  const { host, port, user: username, password, path: database } = parseServerUrl('database', url);
  return { host, port, username, password, database };
}
