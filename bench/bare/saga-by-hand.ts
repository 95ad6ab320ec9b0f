// The steps of a saga by hand: the same transactions, packets, messages, confirms and acks as the library. Without scans and without
// Undo, so a crash leaves a purchase half done. It shows what the steps cost without Nest, TypeORM and nest-dtx.
import { randomUUID } from 'node:crypto';
import type { Pool, ResultSetHeader } from 'mysql2/promise';
import type { Purchase } from '../naive/shop.js';
import type { Calls } from './calls.js';
import { ascii, LEASE } from './columns.js';
import { type Statement, transact } from './transact.js';

const PREFETCH = 32;
const DEADLINE = 'UTC_TIMESTAMP(3) + INTERVAL 60 SECOND';
const TABLES = [
  `CREATE TABLE IF NOT EXISTS saga (
    id ${ascii('CHAR(36)')} NOT NULL PRIMARY KEY, state ${ascii('VARCHAR(16)')} NOT NULL, step INT NOT NULL,
    input MEDIUMTEXT NOT NULL, results MEDIUMTEXT NULL, deadline DATETIME(3) NOT NULL, next_attempt_at DATETIME(3) NULL,
    claim_token ${ascii('CHAR(36)')} NULL, created_at DATETIME(3) NOT NULL, reached_at DATETIME(3) NOT NULL,
    decided_at DATETIME(3) NULL, settled_at DATETIME(3) NULL, KEY due (next_attempt_at, state)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS saga_barrier (
    gid ${ascii('CHAR(36)')} NOT NULL, step ${ascii('VARCHAR(65)')} NOT NULL, phase ${ascii('VARCHAR(8)')} NOT NULL,
    op ${ascii('VARCHAR(8)')} NOT NULL, args MEDIUMTEXT NULL, created_at DATETIME(3) NOT NULL,
    PRIMARY KEY (gid, step, phase)
  ) ENGINE=InnoDB`,
];

/** The business of the steps: the first and the last one at the initiator, and those of the other apps between them. */
export interface Steps {
  readonly first: (purchase: Purchase) => Statement;
  readonly compensable: string;
  readonly pivot: string;
  readonly last: (purchase: Purchase) => Statement;
}

export class SagaByHand {
  /** The fencing token of the claims of this process. */
  private readonly token = randomUUID();

  private constructor(
    private readonly pool: Pool,
    private readonly calls: Calls,
  ) {}

  static async open(pool: Pool, calls: Calls): Promise<SagaByHand> {
    for (const table of TABLES) await pool.query(table);
    return new SagaByHand(pool, calls);
  }

  /** Consumes the calls of a step: barrier and business in one transaction, then the confirmed answer, then the ack. */
  serve(step: string, business: (purchase: Purchase) => Statement): Promise<void> {
    const work = (purchase: Purchase) => transact(this.pool, [barrierOf(step, purchase)], [business(purchase)]);
    return this.calls.serve(queueOf(step), PREFETCH, work);
  }

  /** Resolves once the last step has committed with the final mark. */
  async buy(purchase: Purchase, { first, compensable, pivot, last }: Steps): Promise<void> {
    await this.start(purchase, first(purchase));
    await this.calls.call(queueOf(compensable), purchase);
    await this.markPivot(purchase);
    await this.calls.call(queueOf(pivot), purchase);
    await transact(this.pool, [barrierOf('last', purchase), this.finalMark(purchase)], [last(purchase)]);
  }

  /** The saga and its first step in one packet: no statement has a result that is needed before COMMIT. */
  private async start(purchase: Purchase, step: Statement): Promise<void> {
    const saga = {
      sql: `INSERT INTO saga VALUES (?, 'RUNNING', 1, ?, NULL, ${DEADLINE}, ${LEASE}, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),
        NULL, NULL)`,
      values: [purchase.orderId, JSON.stringify(purchase), this.token],
    };
    const all = [saga, barrierOf('first', purchase), step];
    const connection = await this.pool.getConnection();
    await connection.query(
      `START TRANSACTION; ${all.map(({ sql }) => sql).join('; ')}; COMMIT`,
      all.flatMap(({ values }) => values),
    );
    connection.release();
  }

  /** From here on a cancel would come too late. */
  private async markPivot({ orderId }: Purchase): Promise<void> {
    const [{ affectedRows }] = await this.pool.query<ResultSetHeader>(
      `UPDATE saga SET state = 'PIVOT', step = 2, results = '{}', decided_at = UTC_TIMESTAMP(3), reached_at = UTC_TIMESTAMP(3),
       next_attempt_at = ${LEASE} WHERE id = ? AND claim_token = ? AND state = 'RUNNING' AND deadline > UTC_TIMESTAMP(3)`,
      [orderId, this.token],
    );
    if (affectedRows !== 1) throw new Error('saga by hand: the mark of the pivot has changed nothing');
  }

  private finalMark({ orderId }: Purchase): Statement {
    return {
      sql: `UPDATE saga SET state = 'COMPLETED', next_attempt_at = NULL, claim_token = NULL, settled_at = UTC_TIMESTAMP(3)
        WHERE id = ? AND claim_token = ? AND state = 'PIVOT'`,
      values: [orderId, this.token],
    };
  }
}

export const queueOf = (step: string) => `bare.saga-${step}`;

function barrierOf(step: string, purchase: Purchase): Statement {
  return {
    sql: "INSERT INTO saga_barrier VALUES (?, ?, 'do', 'do', ?, UTC_TIMESTAMP(3))",
    values: [purchase.orderId, step, JSON.stringify(purchase)],
  };
}
