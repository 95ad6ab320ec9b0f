// The database servers of a run, as its nemeses see them: an account for the apps that has no more rights than they need,
// and an administrator's own connection beside it.
import { randomBytes } from 'node:crypto';
import { DATABASES } from '../infra/place.mjs';

const ACCOUNT = 'dtx_chaos';
/** Rows of the shop that every purchase needs. */
const ROWS = { order: 'orders', payment: 'accounts', inventory: 'stock' };

export class DatabaseServer {
  #root;
  #app;
  #database;

  constructor({ app, rootUrl, database, server }) {
    this.#app = app;
    this.#database = database;
    this.#root = rootUrl;
    /** Stops, kills and pauses it, where it is run by us. */
    this.server = server;
  }

  /** An account that a switch to read only stops: root may write all the same. Answers its URL. */
  async makeAccount() {
    const password = randomBytes(12).toString('hex');
    await this.#asRoot(async (root) => {
      await root.query(`DROP USER IF EXISTS '${ACCOUNT}'@'%'`);
      await root.query(`CREATE USER '${ACCOUNT}'@'%' IDENTIFIED BY '${password}'`);
      await root.query(`GRANT ALL ON \`${this.#database}\`.* TO '${ACCOUNT}'@'%'`);
      // MariaDB has no such right: anybody may list prepared branches there.
      await root.query(`GRANT XA_RECOVER_ADMIN ON *.* TO '${ACCOUNT}'@'%'`).catch(() => {});
    });
    return Object.assign(new URL(this.#root), { username: ACCOUNT, password, pathname: `/${this.#database}` }).href;
  }

  setReadOnly(isReadOnly) {
    return this.#asRoot((root) => root.query(`SET GLOBAL read_only = ${isReadOnly ? 1 : 0}`));
  }

  /** 0 takes the limit away. Sessions above the limit are ended: a limit only refuses new ones. */
  async limitConnections(max) {
    await this.#asRoot(async (root) => {
      await root.query(`ALTER USER '${ACCOUNT}'@'%' WITH MAX_USER_CONNECTIONS ${max}`);
      if (max === 0) return;
      const [sessions] = await root.query('SELECT id AS session FROM information_schema.processlist WHERE user = ?', [
        ACCOUNT,
      ]);
      for (const { session } of sessions) await root.query(`KILL ${Number(session)}`).catch(() => {}); // gone by itself
    });
  }

  /** Some rows that purchases need. Resolves, once they are held, with what lets go of them. */
  async lockRows() {
    const { createConnection } = await import('mysql2/promise');
    const holder = await createConnection(this.#root);
    holder.on('error', () => {}); // its server may be the next one to be killed
    await holder.query('SET SESSION innodb_lock_wait_timeout = 2');
    await holder.query('START TRANSACTION');
    const table = `\`${this.#database}\`.${ROWS[this.#app]}`;
    await holder.query(`SELECT * FROM ${table} LIMIT 2 FOR UPDATE`).catch(() => {}); // others hold them: nothing to add
    return async () => holder.destroy();
  }

  async #asRoot(work) {
    const { createConnection } = await import('mysql2/promise');
    const root = await createConnection({ uri: this.#root, connectTimeout: 5_000 });
    try {
      return await work(root);
    } finally {
      root.destroy();
    }
  }
}

/** One for each app; `control` as of `infra/index.mjs`. */
export function databaseServers(servers, world, control) {
  return Object.fromEntries(
    DATABASES.map((app) => {
      const database = new URL(world.databases[app]).pathname.slice(1);
      return [app, new DatabaseServer({ app, rootUrl: servers.databases[app], database, server: control[app] })];
    }),
  );
}
