// One purchase as recorded in its rows: the events of all apps, and the present state of each row.
import { readTrace } from 'nest-dtx/testing';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';
import { type Row, sourcesOf } from './row-sources.js';
import { stateInWords } from './row-state-in-words.js';

export interface TimelineEvent {
  readonly at: Date;
  readonly app: App;
  readonly text: string;
}

/** Both lists are empty if no row has the id. */
export interface Timeline {
  readonly events: readonly TimelineEvent[];
  readonly now: ReadonlyArray<{ readonly app: App; readonly text: string }>;
}

export async function readTimeline(databases: Databases, gid: string): Promise<Timeline> {
  const events: TimelineEvent[] = [];
  const now: Array<{ app: App; text: string }> = [];
  for (const source of sourcesOf(databases)) {
    const { app, table, by = 'gid' } = source;
    const rows = await databases.query<Row>(app, `SELECT * FROM ${table} WHERE ${by} = ? LIMIT 1000`, [gid]);
    for (const row of rows) {
      for (const [at, text] of source.events(row)) if (at instanceof Date) events.push({ at, app, text });
      now.push({ app, text: source.now(row) });
    }
  }
  for (const app of databases.apps) {
    const connection = { query: (sql: string, values: readonly unknown[]) => databases.query(app, sql, values) };
    for (const row of await readTrace(connection, gid, (table) => databases.has(app, table))) {
      for (const { at, event } of row.timeline) events.push({ at: new Date(at), app, text: `${row.what}: ${event}` });
      now.push({ app, text: stateInWords(row) });
    }
  }
  // A stable sort: rows that share a millisecond stay in the order in which the protocol writes them.
  events.sort((one, other) => one.at.getTime() - other.at.getTime());
  return { events, now };
}

/** The events as lines: time since the first, app, what. */
export function timelineLines(events: readonly TimelineEvent[]): string[] {
  const start = events[0]?.at.getTime() ?? 0;
  return events.map(({ at, app, text }) => {
    const offset = `+${at.getTime() - start} ms`.padStart(11);
    return `${at.toISOString().slice(11, 23)} ${offset}  ${app.padEnd(9)}  ${text}`;
  });
}
