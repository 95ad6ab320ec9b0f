// Messages of a window that one side has finished and the other side does not know.
import { tableNames } from 'nest-dtx/testing';
import type { App } from '../../servers/server-set.js';
import type { Finder } from './index.js';
import { present, rowsSince, type Tail } from './walk.js';

interface Sent {
  readonly id: string;
  readonly contract: string;
  readonly consumers: string;
}

/** A message is DONE at its sender, and a consumer has no inbox row of it: the receiver has lost its tail. */
export const messagesWithoutEffect: Finder = {
  kind: 'messages that a receiver lost',
  todo:
    'npx nest-dtx redrive --since <time> with the database of the sender sends them again. Receivers that have them ' +
    'handle them as duplicates',
  needs: [],
  find: async (tail) => {
    const found: string[] = [];
    for (const app of tail.databases.apps) {
      for (const source of sourcesOf(tail, app)) {
        for await (const rows of rowsSince<Sent>(tail, source)) {
          for (const owner of tail.databases.apps) found.push(...(await unknownAt(tail, owner, app, rows)));
        }
      }
    }
    return found;
  },
};

/** Rows of an earlier version have no list of consumers and are not compared. */
function sourcesOf({ databases }: Tail, app: App) {
  const columns = 'id, contract, consumers';
  const hasConsumers = databases.columnsOf(app, tableNames.outbox).has('consumers');
  const outbox = { app, table: tableNames.outbox, key: 'id', columns };
  const half = { app, table: tableNames.half, key: 'id', columns, where: `state = 'DONE'` };
  return [
    ...(hasConsumers ? [{ ...outbox, where: `state = 'DONE' AND route IS NULL AND consumers IS NOT NULL` }] : []),
    half,
    { app, table: tableNames.keyed, key: 'id', columns, where: `state = 'DONE'` },
  ];
}

async function unknownAt({ databases }: Tail, owner: App, sender: App, rows: readonly Sent[]): Promise<string[]> {
  if (!databases.has(owner, tableNames.inbox)) return [];
  const wanted = rows.flatMap(({ id, contract, consumers }) =>
    consumers
      .split(',')
      .filter((consumer) => consumer.startsWith(`${owner}.`))
      .map((consumer) => ({ id, contract, consumer })),
  );
  if (wanted.length === 0) return [];
  const known = await databases.query<{ message_id: string; consumer: string }>(
    owner,
    `SELECT message_id, consumer FROM ${tableNames.inbox} WHERE id IN (?)`,
    [wanted.map(({ id, consumer }) => `${id}.${consumer}`)],
  );
  const has = new Set(known.map(({ message_id, consumer }) => `${message_id} ${consumer}`));
  return wanted
    .filter(({ id, consumer }) => !has.has(`${id} ${consumer}`))
    .map(({ id, contract, consumer }) => `${id}: ${contract} of ${sender} at ${consumer}`);
}

/** A receiver has handled a message that no sender knows: the sender has lost its tail. */
export const messagesWithoutSender: Finder = {
  kind: 'messages that a sender lost',
  todo:
    'the receiver has handled a message whose sender lost it together with its business. Compare the business of the gid, ' +
    'and write it again at the sender or undo it at the receiver',
  needs: ['order', 'payment', 'inventory'],
  find: async (tail) => {
    const found: string[] = [];
    for (const app of tail.databases.apps) {
      const where = `state = 'HANDLED' AND scheme IN ('local-message', 'half-message')`;
      const columns = 'message_id AS id, gid, type, consumer';
      const source = { app, table: tableNames.inbox, key: 'id', columns, where };
      for await (const rows of rowsSince<Handled>(tail, source)) {
        const known = await sentBy(
          tail,
          rows.map(({ id }) => id),
        );
        const lost = rows.filter(({ id }) => !known.has(id));
        found.push(...lost.map(({ id, gid, type, consumer }) => `${id}: ${type} (gid ${gid}), handled by ${consumer}`));
      }
    }
    return found;
  },
};

interface Handled {
  readonly id: string;
  readonly gid: string;
  readonly type: string;
  readonly consumer: string;
}

/** The messages that the table of some sender has. */
async function sentBy({ databases }: Tail, ids: readonly string[]): Promise<Set<string>> {
  const known = new Set<string>();
  for (const app of databases.apps) {
    for (const table of [tableNames.outbox, tableNames.half]) {
      for (const id of await present(databases, { app, table, key: 'id' }, ids)) known.add(id);
    }
  }
  return known;
}
