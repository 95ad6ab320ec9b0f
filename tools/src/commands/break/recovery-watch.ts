// Follows the recovery of a purchase in the databases: each new event of its timeline once, until all its work is final.
import { setTimeout as sleep } from 'node:timers/promises';
import { durableTables } from '../../audit/durable-rows.js';
import type { Say } from '../../cli/say-type.js';
import type { Databases } from '../../sandbox/database-reader.js';
import { readTimeline, type Timeline, type TimelineEvent } from '../trace/timeline.js';

const POLL_MS = 200;

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

  /** Shows new events until all work on `gid` is final or parked. False at the limit. */
  async untilHealed(gid: string, { boundMs }: { boundMs: number }): Promise<boolean> {
    for (const end = Date.now() + boundMs; Date.now() < end; await sleep(POLL_MS)) {
      await this.#tellNews(gid);
      if (await this.#isFinished(gid)) {
        await this.#tellNews(gid);
        return true;
      }
    }
    return false;
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

  /** The order (if there is one) is final and no durable row of this gid is due. */
  async #isFinished(gid: string): Promise<boolean> {
    const sql = 'SELECT status FROM orders WHERE order_id = ?';
    const orders = await this.databases.query<{ status: string }>('order', sql, [gid]);
    if (orders.some(({ status }) => status === 'PENDING')) return false;
    let rows = orders.length;
    for (const { app, table } of durableTables(this.databases)) {
      const states = await this.databases.query<{ state: string; due: Date | null }>(
        app,
        `SELECT state, next_attempt_at AS due FROM ${table} WHERE gid = ?`,
        [gid],
      );
      if (states.some(({ state, due }) => due !== null && state !== 'PARKED')) return false;
      rows += states.length;
    }
    return rows > 0;
  }
}
