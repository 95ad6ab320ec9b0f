// The steps of TCC by hand: the same transactions, packets, messages, confirms and acks as the library. Without scans and without
// Cancel, so a crash leaves what it has reserved. It shows what the steps cost without Nest, TypeORM and nest-dtx.
import { randomUUID } from 'node:crypto';
import type { Pool } from 'mysql2/promise';
import type { Purchase } from '../naive/shop.js';
import { APPS, type App } from './apps.js';
import type { Broker } from './broker.js';
import { Calls } from './calls.js';
import { ascii, LEASE } from './columns.js';
import { gather } from './gather.js';
import { type Statement, transact } from './transact.js';

const PHASES = ['try', 'confirm'] as const;
type Phase = (typeof PHASES)[number];

/** As in the library, Confirm never waits behind Tries in a queue. */
const PREFETCH = { try: 32, confirm: 16 } as const satisfies Record<Phase, number>;
/** Final marks are gathered for this time in milliseconds, as the library does. */
const MARK_MS = 25;
const DEADLINE = 'UTC_TIMESTAMP(3) + INTERVAL 5 SECOND';
const TABLES = [
  `CREATE TABLE IF NOT EXISTS tcc (
    id ${ascii('CHAR(36)')} NOT NULL PRIMARY KEY, state ${ascii('VARCHAR(16)')} NOT NULL,
    decision ${ascii('VARCHAR(8)')} NULL, deadline DATETIME(3) NOT NULL, next_attempt_at DATETIME(3) NULL,
    claim_token ${ascii('CHAR(36)')} NULL, created_at DATETIME(3) NOT NULL, decided_at DATETIME(3) NULL,
    settled_at DATETIME(3) NULL, KEY due (next_attempt_at, state)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS tcc_branch (
    gid ${ascii('CHAR(36)')} NOT NULL, branch INT NOT NULL, participant ${ascii('VARCHAR(65)')} NOT NULL,
    args MEDIUMTEXT NOT NULL, done_at DATETIME(3) NULL, PRIMARY KEY (gid, branch)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS tcc_barrier (
    gid ${ascii('CHAR(36)')} NOT NULL, branch INT NOT NULL, phase ${ascii('VARCHAR(8)')} NOT NULL,
    op ${ascii('VARCHAR(8)')} NOT NULL, participant ${ascii('VARCHAR(65)')} NOT NULL, data MEDIUMTEXT NULL,
    created_at DATETIME(3) NOT NULL, PRIMARY KEY (gid, branch, phase)
  ) ENGINE=InnoDB`,
];

/** What one app does in each phase. */
export type Participant = Readonly<Record<Phase, (purchase: Purchase) => Statement>>;

interface Options {
  readonly participant: Participant;
  readonly pool: Pool;
  readonly broker: Broker;
}

export class TccByHand {
  /** The fencing token of the decisions of this process. */
  private readonly token = randomUUID();
  private readonly mark: (id: string) => Promise<void>;

  private constructor(
    private readonly app: App,
    private readonly of: Options,
    private readonly calls: Calls,
  ) {
    this.mark = gather(MARK_MS, (ids: string[]) =>
      of.pool.query(
        `UPDATE tcc SET state = 'CONFIRMED', next_attempt_at = NULL, claim_token = NULL, settled_at = UTC_TIMESTAMP(3)
         WHERE id IN (?) AND state = 'CONFIRMING'`,
        [ids.sort()],
      ),
    );
  }

  /** Declares the queues, and consumes the calls of this app. */
  static async open(app: App, options: Options): Promise<TccByHand> {
    const { pool, broker } = options;
    for (const table of TABLES) await pool.query(table);
    await broker.declare(APPS.flatMap((one) => PHASES.map((phase) => queueOf(one, phase))));
    const tcc = new TccByHand(app, options, await Calls.open(broker));
    for (const phase of PHASES) await tcc.serve(phase);
    return tcc;
  }

  /** Resolves once every participant has confirmed. As in the library, the final mark is not waited for. */
  async buy(purchase: Purchase): Promise<void> {
    await this.register(purchase);
    await this.callOthers('try', purchase);
    await this.decide(purchase);
    await this.callOthers('confirm', purchase);
    void this.mark(purchase.orderId);
  }

  /** One commit has the transaction, its branches and the own Try. */
  private register(purchase: Purchase): Promise<void> {
    const { orderId: gid } = purchase;
    const args = JSON.stringify(purchase);
    const transaction = {
      sql: `INSERT INTO tcc (id, state, deadline, next_attempt_at, created_at)
        VALUES (?, 'TRYING', ${DEADLINE}, ${DEADLINE}, UTC_TIMESTAMP(3))`,
      values: [gid],
    };
    const branches = {
      sql: 'INSERT INTO tcc_branch (gid, branch, participant, args) VALUES ?',
      values: [APPS.map((app, branch) => [gid, branch, app, args])],
    };
    return this.transact('try', purchase, [transaction, branches]);
  }

  /** One commit has the decision and the own Confirm. */
  private decide(purchase: Purchase): Promise<void> {
    const compareAndSet = {
      sql: `UPDATE tcc SET state = 'CONFIRMING', decision = 'CONFIRM', decided_at = UTC_TIMESTAMP(3), claim_token = ?,
        next_attempt_at = ${LEASE} WHERE id = ? AND state = 'TRYING' AND deadline > UTC_TIMESTAMP(3)`,
      values: [this.token, purchase.orderId],
    };
    return this.transact('confirm', purchase, [compareAndSet]);
  }

  private async callOthers(phase: Phase, purchase: Purchase): Promise<void> {
    const others = APPS.filter((app) => app !== this.app);
    await Promise.all(others.map((app) => this.calls.call(queueOf(app, phase), purchase)));
  }

  private serve(phase: Phase): Promise<void> {
    const work = (purchase: Purchase) => this.transact(phase, purchase);
    return this.calls.serve(queueOf(this.app, phase), PREFETCH[phase], work);
  }

  /** Barrier and business, behind the rows of the initiator. */
  private transact(phase: Phase, purchase: Purchase, rows: readonly Statement[] = []): Promise<void> {
    const { pool, participant } = this.of;
    return transact(pool, [...rows, ...barrierOf(this.app, phase, purchase)], [participant[phase](purchase)]);
  }
}

const queueOf = (app: App, phase: Phase) => `bare.${app}.tcc-${phase}`;

/** Takes the place of the call. Confirm reads the row of Try, too. */
function barrierOf(app: App, phase: Phase, { orderId: gid }: Purchase): Statement[] {
  const branch = APPS.indexOf(app);
  const insert = {
    sql: 'INSERT INTO tcc_barrier VALUES (?, ?, ?, ?, ?, NULL, UTC_TIMESTAMP(3))',
    values: [gid, branch, phase === 'try' ? 'try' : 'second', phase, app],
  };
  const read = {
    sql: 'SELECT phase, op, participant, data FROM tcc_barrier WHERE gid = ? AND branch = ? LOCK IN SHARE MODE',
    values: [gid, branch],
    finds: ({ op }: { op?: string }) => op === 'try',
  };
  return phase === 'try' ? [insert] : [insert, read];
}
