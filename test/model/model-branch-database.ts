// A branch database of XA: a prepared branch outlives its process. While its session lives, MariaDB lets no other session end
// it, and MySQL does (docs/schemes/xa.md).
import type { Sql } from '../../libs/dtx/src/core/database/sql-executor.js';
import { witnessMigrations } from '../../libs/dtx/src/xa/xa-tables.js';
import { FORMAT_ID, type Xid, xidSql } from '../../libs/dtx/src/xa/xid.js';
import { ModelDatabase } from './model-database.js';
import type { Outcome, Process } from './process.js';
import { SqlError, UNKNOWN_XID } from './server-errors.js';
import type { Transaction } from './table.js';
import type { World } from './world.js';

export type Vendor = 'MariaDB' | 'MySQL';

interface Prepared {
  readonly one: Transaction;
  readonly branch: string;
  /** The session that has prepared it. Undefined once it has ended. */
  session: Process | undefined;
}

interface Branch {
  readonly sql: Sql;
  prepare(): Promise<void>;
  end(how: End): Promise<void>;
  /** Ends the session. */
  close(): void;
}

export class ModelBranchDatabase extends ModelDatabase {
  private readonly prepared = new Map<string, Prepared>();

  constructor(
    world: World,
    private readonly branchName: string,
    private readonly vendor: Vendor,
    private readonly gtrid: string,
  ) {
    super(world, branchName, witnessMigrations);
    world.hold(() => [...this.prepared].map(([xid, { session }]) => [xid, session?.name]));
  }

  protected override survivesCrash(one: Transaction): boolean {
    const prepared = [...this.prepared.values()].find((branch) => branch.one === one);
    if (prepared) prepared.session = undefined;
    return prepared !== undefined;
  }

  get isPrepared(): boolean {
    return this.prepared.size > 0;
  }

  /** A branch on a session of its own. */
  work(process: Process): Branch {
    const one = this.begin(process);
    const xid = xidSql(this.gtrid, this.branchName);
    const prepare = (): Outcome => {
      this.prepared.set(xid, { one, branch: this.branchName, session: process });
      return { value: undefined };
    };
    return {
      sql: { query: (text, values) => this.step(one, text, values, false) },
      prepare: () => this.say(process, 'XA PREPARE', prepare),
      end: (how) => this.say(process, `XA ${how}`, () => this.ended(xid, how, process, one)),
      close: () => {
        if (!this.survivesCrash(one)) this.end(one, false);
      },
    };
  }

  private say<T>(process: Process, what: string, take: () => Outcome): Promise<T> {
    return process.step<T>({ label: `${this.branchName}: ${what}`, isEnabled: () => true, take });
  }

  /** `resource` of the library, on sessions of recovery. */
  resource(process: Process) {
    const pool = this.pool(process);
    const query = (text: string, values?: never) => {
      const [, how, xid] = /^XA (COMMIT|ROLLBACK) (.*)$/.exec(text) ?? [];
      if (!how) return pool.query(text, values);
      return this.say(process, `XA ${how}`, () => this.ended(xid!, how as End, process));
    };
    const listed = (): Xid[] =>
      [...this.prepared.values()].map(({ branch }) => ({ formatId: FORMAT_ID, gtrid: this.gtrid, branch }));
    return {
      name: this.branchName,
      sharedNowait: 'LOCK IN SHARE MODE NOWAIT',
      ask: <T>(work: (ask: typeof query) => Promise<T>) => work(query),
      list: () => this.say<Xid[]>(process, 'XA RECOVER', () => ({ value: listed() })),
    };
  }

  private ended(xid: string, how: End, session: Process, own?: Transaction): Outcome {
    const prepared = this.prepared.get(xid);
    // Its own session may also end a branch that is not prepared.
    if (!prepared && own?.isOpen && how === 'ROLLBACK') {
      this.end(own, false);
      return { value: undefined };
    }
    const isForeign = prepared?.session && prepared.session !== session && this.vendor === 'MariaDB';
    if (!prepared || isForeign) return { error: new SqlError(UNKNOWN_XID) };
    this.prepared.delete(xid);
    this.end(prepared.one, how === 'COMMIT');
    return { value: undefined };
  }
}

type End = 'COMMIT' | 'ROLLBACK';
