import { createConnection } from 'mysql2/promise';
import type { DataSource, EntityManager } from 'typeorm';
import {
  contractOf,
  type Library,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';

/** A DataSource whose packets may hold several statements. */
export const SEVERAL = { extra: { multipleStatements: true } };
export const intact = libraryOf();

interface Setting extends Pick<ServiceOptions, 'url' | 'core' | 'controllers'> {
  readonly library?: Library;
  readonly source?: object;
}

/** A database with a table of steps, and services on it whose units append messages. */
export class Deferring {
  private service: LittleService | undefined;
  private count = 0;

  private constructor(readonly sandbox: Sandbox) {}

  static async open(name: string): Promise<Deferring> {
    const sandbox = await freshSandbox(name, { audited: false });
    await sql(sandbox, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL, UNIQUE KEY (gid, n))');
    return new Deferring(sandbox);
  }

  async start({ library = intact, source = SEVERAL, ...rest }: Setting = {}) {
    const contract = contractOf(library, `message-${++this.count}`);
    const service = await LittleService.start({ sandbox: this.sandbox, library, source, ...rest });
    this.service = service;
    const append = (tx: EntityManager, gid: string) => service.get(library.LocalMessages).append(tx, contract, { gid });
    const db: DataSource = service.source;
    const unit = (work: (tx: EntityManager) => Promise<unknown>) => library.inTransaction(db, work);
    const database = service.get(library.DtxDatabase);
    return { append, db, database, unit, service, gid: `deferred-${this.count}` };
  }

  async end(): Promise<void> {
    await this.service?.close();
  }

  /** Rows that a session has inserted, committed or not. */
  async insertedBy(gid: string): Promise<{ steps: number; messages: number }> {
    const connection = await createConnection(this.sandbox.databases.payment);
    try {
      await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
      const [steps] = await connection.query<never[]>('SELECT 1 FROM step WHERE gid = ?', [gid]);
      const [messages] = await connection.query<never[]>('SELECT 1 FROM dtx_outbox WHERE gid = ?', [gid]);
      return { steps: steps.length, messages: messages.length };
    } finally {
      await connection.end();
    }
  }
}

export type Started = Awaited<ReturnType<Deferring['start']>>;

export const step = (tx: EntityManager, gid: string, n: number) => tx.query('INSERT INTO step VALUES (?, ?)', [gid, n]);
