// Looking at the databases while a purchase heals: each new entry of its timeline once, until all its work is done.
import { setTimeout as sleep } from 'node:timers/promises';
import { durableTables } from '../audit/durable.mjs';
import { readTimeline } from '../trace/timeline.mjs';

const POLL_MS = 200;

export class Watch {
  #seen = new Set();

  /** @param {{ databases: object, say: (line: string) => void }} options */
  constructor({ databases, say }) {
    this.databases = databases;
    this.say = say;
  }

  /** How everything stands at this moment; what is shown now is not told again as news. */
  async showNow(gid) {
    const { events, now } = gid ? await readTimeline(this.databases, gid) : { events: [], now: [] };
    for (const event of events) this.#isNews(event);
    if (now.length === 0) this.say('  no database knows anything of it');
    for (const { app, text } of now) this.say(`  ${app.padEnd(9)}  ${text}`);
  }

  /** Tells the news until the work on `gid` is finished or parked. False when the bound is reached first. */
  async untilHealed(gid, { boundMs, isStopped = () => false }) {
    for (const end = Date.now() + boundMs; Date.now() < end && !isStopped(); await sleep(POLL_MS)) {
      await this.#tellNews(gid);
      if (await this.#isFinished(gid)) {
        await this.#tellNews(gid);
        return true;
      }
    }
    return false;
  }

  async #tellNews(gid) {
    const { events } = await readTimeline(this.databases, gid);
    for (const event of events.filter((one) => this.#isNews(one))) {
      this.say(`  ${event.at.toISOString().slice(11, 23)}  ${event.app.padEnd(9)}  ${event.text}`);
    }
  }

  #isNews({ app, text, at }) {
    const key = `${app} ${text} ${at.getTime()}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }

  /** The order (if there is one) is final and no durable row of this gid is due. */
  async #isFinished(gid) {
    const orders = await this.databases.query('order', 'SELECT status FROM orders WHERE order_id = ?', [gid]);
    if (orders.some(({ status }) => status === 'PENDING')) return false;
    let rows = orders.length;
    for (const { app, table } of durableTables(this.databases)) {
      const states = await this.databases.query(
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
