import { databaseAddress, parseServerUrl } from 'nest-dtx';

/** Options of the driver for a database: its address, and the options after the `?` of the URL. */
export interface DatabaseOptions extends ReturnType<typeof databaseAddress> {
  readonly ssl?: Tls;
  /** Options of the driver itself, such as `connectTimeout`. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Options of a TLS connection for `node:tls` and the driver. */
export type Tls = Readonly<Record<string, unknown>>;

/**
 * TLS modes by the names that other clients use. `REQUIRED` encrypts and trusts any certificate. `VERIFY_CA` requires a
 * known authority (see NODE_EXTRA_CA_CERTS). `VERIFY_IDENTITY` also requires a certificate for this host.
 */
const MODES: Readonly<Record<string, Tls | null>> = {
  disabled: null,
  disable: null,
  required: { rejectUnauthorized: false },
  require: { rejectUnauthorized: false },
  'verify-ca': { rejectUnauthorized: true },
  'verify-identity': { rejectUnauthorized: true, verifyIdentity: true },
  'verify-full': { rejectUnauthorized: true, verifyIdentity: true },
};

const MODE_NAMES = ['sslmode', 'ssl-mode'];
const MODES_SHOWN = 'DISABLED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY';
/** Options that only the app may set, since the values that it reads and writes depend on them. */
const NOT_IN_A_URL =
  /^(host|port|user|username|password|database|multipleStatements|timezone|charset|dateStrings|resetOnRelease|typeCast|rowsAsArray|namedPlaceholders|connectionLimit|queueLimit)$/i;

/** Parses a database URL. @throws Error with the rest of a sentence that begins with the variable, without the value */
export function databaseOptions(url: string): DatabaseOptions {
  const { query } = parseServerUrl('database', url);
  let ssl: Tls | null = null;
  const extra: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(query)) {
    if (name === 'ssl') ssl = tlsOf(value);
    else if (MODE_NAMES.includes(name.toLowerCase())) ssl = modeOf(value);
    else if (NOT_IN_A_URL.test(name)) throw new Error(`must not have the option "${name}", which the app sets itself`);
    else extra[name] = readValue(value);
  }
  return { ...databaseAddress(url), ...(ssl ? { ssl } : {}), extra };
}

/** The problem of a database URL, or null. */
export function problemOfDatabaseUrl(url: string): string | null {
  try {
    databaseOptions(url);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function tlsOf(text: string): Tls | null {
  const value = readValue(text);
  if (value === true || text === '') return { rejectUnauthorized: true };
  if (value === false) return null;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Tls;
  throw new Error('must have ssl=true, ssl=false or ssl= and an object in JSON, like {"rejectUnauthorized":false}');
}

function modeOf(text: string): Tls | null {
  const mode = MODES[text.toLowerCase().replaceAll('_', '-')];
  if (mode === undefined) throw new Error(`must have ${MODES_SHOWN} as its sslmode`);
  return mode;
}

/** Numbers, booleans and objects are written as JSON. Any other value is a text. */
function readValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
