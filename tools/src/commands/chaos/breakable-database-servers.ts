// The database servers of a run, as its nemeses see them: an account for the apps with only the rights that they need, and an
// administrator's own connection beside it.
import { randomBytes } from 'node:crypto';
import { type Connection, createConnection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';
import { codeOf } from '../../cli/error-text.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { type App, perApp, type Server, type ServerControl, type Servers } from '../../servers/server-set.js';
import { HANDLER_FAULT } from './operator.js';

const ACCOUNT = 'dtx_chaos';
/** Rows of the shop that every purchase needs. */
const ROWS: Record<App, string> = { order: 'orders', payment: 'account', inventory: 'stock' };

/** The message that the handler sends in its transaction. It cannot, so its business is rolled back. */
const FAILING_CONTRACT = 'stock.taken';
const FAILURES = 'chaos_failures';

const SENT_AGAIN_MAX = 20;
/** The tables of messages with receipts, with the state before the first send. */
const MESSAGES = [
  { table: 'dtx_outbox', unsent: 'PENDING', awaiting: 'consumers' },
  { table: 'dtx_half', unsent: 'COMMITTED', awaiting: `CONCAT(',', consumers, ',')` },
] as const;

interface DatabaseServerOptions {
  readonly app: App;
  readonly rootUrl: string;
  readonly database: string;
  readonly server: ServerControl;
}

export class DatabaseServer {
  readonly #root: string;
  readonly #app: App;
  readonly #database: string;
  /** Messages that `sendAgain` and `sendTwice` made due. */
  sentAgain = 0;
  /** Stops, kills and pauses it, if the commands run it. */
  readonly server: ServerControl;

  constructor({ app, rootUrl, database, server }: DatabaseServerOptions) {
    this.#app = app;
    this.#database = database;
    this.#root = rootUrl;
    this.server = server;
  }

  /** Makes an account that cannot write to a read-only server (root can), and returns its URL. */
  async makeAccount(): Promise<string> {
    const password = randomBytes(12).toString('hex');
    await this.#asRoot(async (root) => {
      await root.query(`DROP USER IF EXISTS '${ACCOUNT}'@'%'`);
      await root.query(`CREATE USER '${ACCOUNT}'@'%' IDENTIFIED BY '${password}'`);
      await root.query(`GRANT ALL ON \`${this.#database}\`.* TO '${ACCOUNT}'@'%'`);
      // MariaDB has no such right: every account may list prepared branches there.
      await root.query(`GRANT XA_RECOVER_ADMIN ON *.* TO '${ACCOUNT}'@'%'`).catch(() => {});
    });
    return Object.assign(new URL(this.#root), { username: ACCOUNT, password, pathname: `/${this.#database}` }).href;
  }

  async setReadOnly(isReadOnly: boolean): Promise<void> {
    await this.#asRoot((root) => root.query(`SET GLOBAL read_only = ${isReadOnly ? 1 : 0}`));
  }

  /** 0 removes the limit. All sessions are killed, because a limit only rejects new sessions. */
  async limitConnections(max: number): Promise<void> {
    await this.#asRoot(async (root) => {
      await root.query(`ALTER USER '${ACCOUNT}'@'%' WITH MAX_USER_CONNECTIONS ${max}`);
      if (max === 0) return;
      const sql = 'SELECT id AS session FROM information_schema.processlist WHERE user = ?';
      const [sessions] = await root.query<RowDataPacket[]>(sql, [ACCOUNT]);
      for (const { session } of sessions) await root.query(`KILL ${Number(session)}`).catch(() => {}); // it has ended
    });
  }

  /** The table of the shop that every purchase needs. */
  get table(): string {
    return `\`${this.#database}\`.${ROWS[this.#app]}`;
  }

  /** Runs one statement in the database of the app, as root. Returns the number of changed rows. */
  run(statement: string, values: readonly unknown[] = []): Promise<number> {
    return this.#asRoot(async (root) => {
      await root.query(`USE \`${this.#database}\``);
      const [result] = await root.query<ResultSetHeader>(statement, [...values]);
      return result.affectedRows;
    });
  }

  /**
   * Makes some finished messages due again, as `nest-dtx redrive` does. Their consumers get them under the same ids, and must
   * not handle them twice.
   */
  sendAgain(): Promise<void> {
    return this.#makeDue(
      ({ unsent, awaiting }) => `state = '${unsent}', awaiting = ${awaiting}, sent_at = NULL, done_at = NULL`,
      `state = 'DONE' AND consumers IS NOT NULL`,
    );
  }

  /** Makes messages due that were sent and wait for their receipts, so that two copies of a message are on their way at once. */
  sendTwice(): Promise<void> {
    return this.#makeDue(() => `state = state`, `state = 'SENT' AND next_attempt_at IS NOT NULL`);
  }

  /** The attempts begin at 0, because a send on purpose must not bring a message nearer to being given up. */
  async #makeDue(changed: (messages: (typeof MESSAGES)[number]) => string, where: string): Promise<void> {
    for (const messages of MESSAGES) {
      const statement = `UPDATE ${messages.table} SET ${changed(messages)}, attempts = 0, claim_token = NULL,
         next_attempt_at = UTC_TIMESTAMP(3) WHERE ${where} ORDER BY created_at DESC LIMIT ${SENT_AGAIN_MAX}`;
      this.sentAgain += await this.run(statement).catch((error) => {
        if (codeOf(error) === 'ER_NO_SUCH_TABLE') return 0; // this app has no such messages
        throw error;
      });
    }
  }

  /** Called once, before any load: a later DDL statement would wait for the transactions of the apps. */
  async prepareHandlerFault(): Promise<void> {
    await this.run(`CREATE TABLE ${FAILURES} (contract VARCHAR(100) NOT NULL PRIMARY KEY)`);
    await this.run(
      `CREATE TRIGGER chaos_handler BEFORE INSERT ON dtx_outbox FOR EACH ROW
       IF EXISTS (SELECT 1 FROM ${FAILURES} WHERE contract = NEW.contract)
       THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '${HANDLER_FAULT}'; END IF`,
    );
  }

  /** From now on one handler fails, or succeeds again. No other scheme sends its message. */
  async failHandler(isFailing: boolean): Promise<void> {
    if (isFailing) await this.run(`INSERT IGNORE INTO ${FAILURES} (contract) VALUES (?)`, [FAILING_CONTRACT]);
    else await this.run(`DELETE FROM ${FAILURES}`);
  }

  /** Locks some rows that purchases need, and returns how to release them. */
  async lockRows(): Promise<() => Promise<void>> {
    const holder = await createConnection(this.#root);
    holder.on('error', () => {}); // its server may be the next one to be killed
    await holder.query('SET SESSION innodb_lock_wait_timeout = 2');
    await holder.query('START TRANSACTION');
    await holder.query(`SELECT * FROM ${this.table} LIMIT 2 FOR UPDATE`).catch((error) => {
      if (codeOf(error) !== 'ER_LOCK_WAIT_TIMEOUT') throw error; // other sessions hold them already
    });
    return async () => holder.destroy();
  }

  async #asRoot<T>(work: (root: Connection) => Promise<T>): Promise<T> {
    const root = await createConnection({ uri: this.#root, connectTimeout: 5_000 });
    try {
      return await work(root);
    } finally {
      root.destroy();
    }
  }
}

/** One for each app. */
export function databaseServers(
  servers: Servers,
  sandbox: Sandbox,
  control: Record<Server, ServerControl>,
): Record<App, DatabaseServer> {
  return perApp((app) => {
    const database = new URL(sandbox.databases[app]).pathname.slice(1);
    return new DatabaseServer({ app, rootUrl: servers.databases[app], database, server: control[app] });
  });
}
