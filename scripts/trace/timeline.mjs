// One purchase as its rows tell it: what happened when in which app, and how everything stands now.
import { sourcesOf } from './sources.mjs';

/**
 * @returns {Promise<{ events: Array<{ at: Date, app: string, text: string }>, now: Array<{ app: string, text: string }> }>}
 *   both empty when nothing in the world knows the id
 */
export async function readTimeline(databases, gid) {
  const events = [];
  const now = [];
  for (const source of sourcesOf(databases)) {
    const { app, table, by = 'gid' } = source;
    const rows = await databases.query(app, `SELECT * FROM ${table} WHERE ${by} = ? LIMIT 1000`, [gid]);
    for (const row of rows) {
      for (const [at, text] of source.events(row)) if (at) events.push({ at, app, text });
      now.push({ app, text: source.now(row) });
    }
  }
  // A stable sort: rows that share a millisecond stay in the order in which the protocol writes them.
  events.sort((one, other) => one.at - other.at);
  return { events, now };
}

/** The events as lines: time since the first, app, what. */
export function timelineLines(events) {
  const start = events[0]?.at.getTime();
  return events.map(({ at, app, text }) => {
    const offset = `+${at.getTime() - start} ms`.padStart(11);
    return `${at.toISOString().slice(11, 23)} ${offset}  ${app.padEnd(9)}  ${text}`;
  });
}
