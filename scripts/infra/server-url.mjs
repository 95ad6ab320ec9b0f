// The URL of a server in its parts, each decoded. The rules are those of the library (libs/dtx/src/core/server-url.ts), which a
// script cannot import: it brings up servers before anything is installed or built. A test holds the two together.
const PORTS = { mysql: 3306, mariadb: 3306, amqp: 5672, amqps: 5671, redis: 6379, rediss: 6379 };
const URL_CHARS_MAX = 4_096;
const OPTION_NAME = /^[A-Za-z][A-Za-z0-9_.-]*$/;

/**
 * @param {string} text
 * @returns {{ protocol: string, host: string, port: number, user: string | undefined, password: string | undefined,
 *   path: string, query: Record<string, string> }}
 * @throws {Error} that shows nothing of the value
 */
export function serverUrlParts(text) {
  const encode = 'a special character in user, password or path must be percent-encoded';
  if (text.length > URL_CHARS_MAX) throw new Error(`it has more than ${URL_CHARS_MAX} characters`);
  if (!URL.canParse(text)) throw new Error(`it cannot be read (${encode})`);
  const url = new URL(text);
  const protocol = url.protocol.slice(0, -1);
  if (!Object.hasOwn(PORTS, protocol)) throw new Error(`its protocol must be one of ${Object.keys(PORTS).join(', ')}`);
  if (url.hostname === '') throw new Error('it names no host');
  if (url.hash !== '' || url.pathname.includes('@'))
    throw new Error(`it has parts that do not belong to it (${encode})`);
  const query = Object.fromEntries(url.searchParams);
  if (!Object.keys(query).every((name) => OPTION_NAME.test(name)))
    throw new Error(`its options have no names (${encode})`);
  return {
    protocol,
    host: decode(url.hostname, 'host').replace(/^\[|\]$/g, ''),
    port: Number(url.port) || PORTS[protocol],
    user: decode(url.username, 'user') || undefined,
    password: decode(url.password, 'password') || undefined,
    path: decode(url.pathname.slice(1), 'path'),
    query,
  };
}

function decode(part, what) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new Error(`its ${what} is not percent-encoded UTF-8 (a "%" itself is %25)`);
  }
}
