import { randomUUID } from 'node:crypto';
import { Batcher } from '../../core/async/batcher.js';
import type { Database } from '../../core/database/database.service.js';
import { inFuture } from '../../core/durable/claim-and-reschedule.js';
import { NEVER_BY_ITSELF } from '../../core/durable/settle-or-park.js';
import { KEYED, type KeyedRow } from './keyed-table.js';

/** The first open message of a key. */
export interface Head {
  readonly open_key: string;
  readonly id: string;
  readonly state: string;
  readonly on_parked: 'wait' | 'pass';
}

/** Keys of one statement. */
const KEYS_AT_ONCE = 50;
/** Keys of one page of the search for stranded ones. */
const PAGE_KEYS = 500;
const LOOK = { delayMs: 0, batchMax: KEYS_AT_ONCE };
const WAIT = { delayMs: 2, batchMax: 200 };

/** Reads and moves the heads of keys. All state is in `dtx_keyed`, so any instance may do each step. */
export class KeyHeads {
  private readonly looks: Batcher<{ readonly key: string; head?: Head | undefined }>;
  private readonly waits: Batcher<KeyedRow>;

  constructor(
    private readonly database: Database,
    private readonly leaseMs: number,
  ) {
    this.looks = new Batcher(LOOK, async (asked) => {
      const found = await this.of([...new Set(asked.map(({ key }) => key))]);
      const heads = new Map(found.map((head) => [head.open_key, head]));
      for (const one of asked) one.head = heads.get(one.key);
    });
    this.waits = new Batcher(WAIT, (rows) => this.writeWaits(rows));
  }

  /** Whether a message is the head of its key. Its predecessors have committed before it, so this read sees them. */
  async isHead({ id, open_key: key }: Pick<KeyedRow, 'id' | 'open_key'>): Promise<boolean> {
    // Its successors were let go before.
    if (key === null) return true;
    const asked: { key: string; head?: Head | undefined } = { key };
    await this.looks.add(asked);
    return asked.head?.id === id;
  }

  /** The heads of these keys. */
  async of(keys: readonly string[]): Promise<Head[]> {
    const found: Head[] = [];
    for (let start = 0; start < keys.length; start += KEYS_AT_ONCE) {
      const some = keys.slice(start, start + KEYS_AT_ONCE);
      const one = `(SELECT open_key, id, state, on_parked FROM dtx_keyed FORCE INDEX (in_order)
        WHERE open_key = ? ORDER BY seq LIMIT 1)`;
      found.push(...(await this.database.own.query<Head[]>(some.map(() => one).join(' UNION ALL '), some)));
    }
    return found;
  }

  /**
   * Takes a message that is not the head off the due range, so a long queue behind a head costs the scans nothing. The
   * caller looks at the head again afterwards, because the predecessor may have ended in between.
   */
  wait(row: KeyedRow): Promise<void> {
    return this.waits.add(row);
  }

  private async writeWaits(rows: readonly KeyedRow[]): Promise<void> {
    for (const token of new Set(rows.map((row) => row.claim_token))) {
      const ids = rows.filter((row) => row.claim_token === token).map((row) => row.id);
      await this.database.own.query(
        `UPDATE dtx_keyed SET state = 'WAITING', next_attempt_at = ${NEVER_BY_ITSELF}, claim_token = NULL
         WHERE id IN (?) AND claim_token = ? AND state IN ('PENDING', 'WAITING')`,
        [ids.sort(), token],
      );
    }
  }

  /** Claims heads that wait. Of several instances one gets each, by its state. */
  async claim(ids: readonly string[]): Promise<KeyedRow[]> {
    if (ids.length === 0) return [];
    return this.database.own.transaction(async (sql) => {
      const rows: KeyedRow[] = await sql.query(
        `SELECT id, state, attempts, ${KEYED.columns.join(', ')} FROM dtx_keyed FORCE INDEX (PRIMARY)
         WHERE id IN (?) AND state = 'WAITING' FOR UPDATE SKIP LOCKED`,
        [[...ids].sort()],
      );
      if (rows.length === 0) return [];
      const token = randomUUID();
      await sql.query(
        `UPDATE dtx_keyed SET state = 'PENDING', claim_token = ?, released_at = UTC_TIMESTAMP(3),
         next_attempt_at = ${inFuture(this.leaseMs)} WHERE id IN (?)`,
        [token, rows.map(({ id }) => id)],
      );
      const released = {
        state: 'PENDING',
        claim_token: token,
        made_at_ms: this.database.nowMs(),
        isHead: true,
      } as const;
      return rows.map((row): KeyedRow => ({ ...row, ...released }));
    });
  }

  /** Makes heads that wait due now, for the scan of any instance. For a process that cannot send at the moment. */
  async makeDue(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.database.own.query(
      `UPDATE dtx_keyed SET state = 'PENDING', next_attempt_at = UTC_TIMESTAMP(3), released_at = UTC_TIMESTAMP(3)
       WHERE id IN (?) AND state = 'WAITING'`,
      [[...ids].sort()],
    );
  }

  /** Lets the successors of parked messages pass. */
  async leave(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.database.own.query(`UPDATE dtx_keyed SET open_key = NULL WHERE id IN (?) AND state = 'PARKED'`, [
      [...ids].sort(),
    ]);
  }

  /**
   * The heads of the keys of these messages, in one statement. The messages themselves may have ended. `open_key` stands in
   * the ORDER BY because MySQL 9.7 otherwise reads every entry of a key before the LIMIT.
   */
  async behind(ids: readonly string[]): Promise<Head[]> {
    if (ids.length === 0) return [];
    return this.database.own.query<Head[]>(
      `SELECT m.open_key, m.id, m.state, m.on_parked FROM (
         SELECT (SELECT id FROM dtx_keyed FORCE INDEX (in_order) WHERE open_key = ended.k ORDER BY open_key, seq LIMIT 1) AS head
         FROM (SELECT DISTINCT stream_key AS k FROM dtx_keyed FORCE INDEX (PRIMARY) WHERE id IN (?)) ended LIMIT ${ids.length}) heads
       STRAIGHT_JOIN dtx_keyed m FORCE INDEX (PRIMARY) ON m.id = heads.head`,
      [[...ids].sort()],
    );
  }

  /**
   * One page of keys whose head could go on and does not: the process that ended its predecessor died before it looked.
   * The index gives the first entry of each key, so the number of messages behind a head does not matter.
   */
  async stranded(after: string): Promise<{ keys: string[]; next: string | null }> {
    const rows = await this.database.own.query<Head[]>(
      `SELECT m.open_key, m.state, m.on_parked FROM (
         SELECT open_key AS k, MIN(seq) AS s FROM dtx_keyed FORCE INDEX (in_order) WHERE open_key > ?
         GROUP BY open_key ORDER BY open_key LIMIT ${PAGE_KEYS}) first_of
       STRAIGHT_JOIN dtx_keyed m FORCE INDEX (in_order) ON m.open_key = first_of.k AND m.seq = first_of.s ORDER BY m.open_key`,
      [after],
    );
    return {
      keys: rows.filter(canGoOn).map(({ open_key }) => open_key),
      next: rows.length < PAGE_KEYS ? null : rows.at(-1)!.open_key,
    };
  }
}

/** Whether a head is to be sent now, or to be passed. */
export function canGoOn({ state, on_parked }: Pick<Head, 'state' | 'on_parked'>): boolean {
  return state === 'WAITING' || isPassed({ state, on_parked });
}

/** Whether the successors pass a head. */
export function isPassed({ state, on_parked }: Pick<Head, 'state' | 'on_parked'>): boolean {
  return state === 'PARKED' && on_parked === 'pass';
}
