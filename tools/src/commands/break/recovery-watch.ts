// Follows the recovery of a purchase in the databases: each new event of its timeline once, until all its work is final.
import { setTimeout as sleep } from 'node:timers/promises';
import { durableTables } from '../../audit/durable-rows.js';
import type { Say } from '../../cli/say-type.js';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';
import { readTimeline, type Timeline, type TimelineEvent } from '../trace/timeline.js';

const POLL_MS = 200;
/**
 * A failed attempt is postponed if its next one is further away than this. It is longer than any lease, so a row that waits
 * for the lease of a dead process is not postponed.
 */
const FAR_MS = 30_000;

/** An unfinished row. */
export interface OpenRow {
  readonly app: App;
  readonly id: string;
  readonly isPostponed: boolean;
}

/** `postponed`: work is left, and all of it waits for an attempt that is far away. `open`: the limit was reached. */
export type Healing = 'healed' | 'postponed' | 'open';

export class Watch {
  #seen = new Set<string>();

  constructor(
    readonly databases: Databases,
    private readonly say: Say,
  ) {}

  /** Shows the present state. Events that have happened already are not shown again as news. */
  async showNow(gid: string | null): Promise<void> {
    const { events, now }: Timeline = gid ? await readTimeline(this.databases, gid) : { events: [], now: [] };
    for (const event of events) this.#isNews(event);
    if (now.length === 0) this.say('  no database has a row of it');
    for (const { app, text } of now) this.say(`  ${app.padEnd(9)}  ${text}`);
  }

  /**
   * Shows new events until all work on `gid` is final or parked.
   * @param isPatient whether it also waits for attempts that are far away
   */
  async untilHealed(
    gid: string,
    { boundMs, isPatient = false }: { boundMs: number; isPatient?: boolean },
  ): Promise<Healing> {
    for (const end = Date.now() + boundMs; Date.now() < end; await sleep(POLL_MS)) {
      await this.#tellNews(gid);
      const open = await this.openRows(gid);
      if (!isPatient && open && open.length > 0 && open.every(({ isPostponed }) => isPostponed)) return 'postponed';
      if (open?.length === 0 && !(await this.#isPending(gid))) {
        await this.#tellNews(gid);
        return 'healed';
      }
    }
    return 'open';
  }

  /** The rows of `gid` with a next attempt. A parked row waits for an operator, not for time. Null before it has any row. */
  async openRows(gid: string): Promise<OpenRow[] | null> {
    const found: OpenRow[] = [];
    let rows = 0;
    for (const { app, table } of durableTables(this.databases)) {
      const failed = this.databases.columnsOf(app, table).has('last_error') ? 'last_error IS NOT NULL' : 'FALSE';
      const read = await this.databases.query<{ id: string | bigint; isOpen: number; isPostponed: number }>(
        app,
        `SELECT id, next_attempt_at IS NOT NULL AND state <> 'PARKED' AS isOpen,
           ${failed} AND next_attempt_at > UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND AS isPostponed
         FROM ${table} WHERE gid = ?`,
        [FAR_MS * 1_000, gid],
      );
      rows += read.length;
      for (const { id, isOpen, isPostponed } of read)
        if (Number(isOpen) === 1) found.push({ app, id: String(id), isPostponed: Number(isPostponed) === 1 });
    }
    return rows > 0 || (await this.#orders(gid)).length > 0 ? found : null;
  }

  async #tellNews(gid: string): Promise<void> {
    const { events } = await readTimeline(this.databases, gid);
    for (const event of events.filter((one) => this.#isNews(one))) {
      this.say(`  ${event.at.toISOString().slice(11, 23)}  ${event.app.padEnd(9)}  ${event.text}`);
    }
  }

  #isNews({ app, text, at }: TimelineEvent): boolean {
    const key = `${app} ${text} ${at.getTime()}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }

  async #isPending(gid: string): Promise<boolean> {
    return (await this.#orders(gid)).includes('PENDING');
  }

  async #orders(gid: string): Promise<string[]> {
    const sql = 'SELECT status FROM orders WHERE order_id = ?';
    const orders = await this.databases.query<{ status: string }>('order', sql, [gid]);
    return orders.map(({ status }) => status);
  }
}
