import { type Connection, createConnection } from 'mysql2/promise';
import { type MigrationQuery, TABLE_WAIT_SECONDS } from '../core/database/migrate.js';
import { pinningSql } from '../core/database/session-settings.js';
import { parseServerUrl } from '../core/server-url.js';
import { readableUrl } from './command.js';

const CONNECT_TIMEOUT_MS = 10_000;

/** One connection of a command. A signal closes it, which ends each waiting call. */
export class DatabaseSession {
  private constructor(
    private readonly connection: Connection,
    private readonly stopped: Promise<never>,
  ) {}

  /**
   * @param isPinned with the session settings of the library. Without it the session is as the server gives it, for
   *   statements of the user
   * @throws UsageError for a URL that cannot be read, and the error of the driver
   */
  static async open(url: string, signal: AbortSignal, isPinned = true): Promise<DatabaseSession> {
    const connection = await createConnection({ ...addressFrom(url), multipleStatements: true });
    // Without a listener, a lost connection would end the process before its error is shown.
    connection.on('error', () => {});
    const stopped = new Promise<never>((_, reject) => {
      const stop = () => {
        connection.destroy();
        reject(new Error('stopped'));
      };
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    stopped.catch(() => {});
    const session = new DatabaseSession(connection, stopped);
    const pins = pinningSql({ lockWaitSeconds: TABLE_WAIT_SECONDS });
    for (const sql of isPinned ? pins : [`SET SESSION lock_wait_timeout = ${TABLE_WAIT_SECONDS}`])
      await session.query(sql);
    return session;
  }

  /** Sends a statement. Several in one text are separated by `;`. */
  readonly query: MigrationQuery = async (sql) => {
    const answered = this.connection.query(sql);
    answered.catch(() => {});
    const [rows] = await Promise.race([answered, this.stopped]);
    return rows as Array<Record<string, unknown>>;
  };

  close(): void {
    this.connection.destroy();
  }
}

/**
 * The URL as options of mysql2. Its option `ssl` is `true` or the JSON of TLS options.
 * @throws UsageError
 */
export function addressFrom(url: string) {
  return readableUrl('database', () => {
    const { host, port, user, password, path: database, query } = parseServerUrl('database', url);
    const other = Object.keys(query).find((name) => name !== 'ssl');
    if (other !== undefined) throw new Error(`has the unknown option ${other}; known: ssl`);
    const ssl = query.ssl === undefined || query.ssl === 'false' ? undefined : tlsOf(query.ssl);
    return { host, port, user, password, database, ssl, connectTimeout: CONNECT_TIMEOUT_MS };
  });
}

function tlsOf(text: string): object {
  if (text === 'true') return {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === 'object') return parsed;
  } catch {
    // The error below names the expected values.
  }
  throw new Error('has a wrong option ssl; expected true, false, or a JSON object of TLS options');
}
