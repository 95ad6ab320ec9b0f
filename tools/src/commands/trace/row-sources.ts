// The tables of the shop and the alerts that have rows of a purchase. `readTrace` of the library reads its own tables.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';

/** A row of any of these tables. */
export type Row = Readonly<Record<string, unknown>>;

/** A moment that a row has recorded. A time that has not come yet is null. */
export type RowEvent = readonly [at: unknown, text: string];

export interface Source {
  /** The app whose table it is. Without it, that of every app. */
  readonly app?: App;
  readonly table: string;
  /** The column with the id of the purchase, `gid` by default. */
  readonly by?: string;
  events(row: Row): readonly RowEvent[];
  /** How the row stands. */
  now(row: Row): string;
}

const SOURCES: readonly Source[] = [
  {
    app: 'order',
    table: 'orders',
    by: 'order_id',
    events: (row) => [
      [
        row.created_at,
        `order placed by ${row.scheme}: ${row.buyer_id} wants ${row.quantity} x ${row.sku} for ${row.amount}`,
      ],
      ...when(row.status !== 'PENDING', [row.updated_at, `order ${row.status}${row.reason ? ` (${row.reason})` : ''}`]),
    ],
    now: (row) => `orders: ${row.status}${row.reason ? ` (${row.reason})` : ''}`,
  },
  {
    app: 'inventory',
    table: 'stock_take',
    by: 'order_id',
    events: () => [], // it has no time: it is committed with the inbox row of take-stock
    now: (row) => `stock_take: ${row.state}, ${row.quantity} x ${row.sku}`,
  },
  {
    app: 'payment',
    table: 'payment',
    by: 'order_id',
    events: (row) => [
      [
        row.created_at,
        `payment ${row.status}${row.reason ? ` (${row.reason})` : ''}: ${row.amount} of ${row.buyer_id}`,
      ],
    ],
    now: (row) => `payment: ${row.status}, ${row.amount} of ${row.buyer_id}`,
  },
  {
    app: 'order',
    table: 'payment_result',
    by: 'order_id',
    events: (row) => [
      [row.received_at, `the merchant was ${row.source === 'told' ? 'told' : 'answered'}: payment ${row.status}`],
    ],
    now: (row) => `payment_result: ${row.status}, ${row.source}`,
  },
  {
    table: tableNames.alert,
    events: (row) => [
      [row.opened_at, `ALERT ${row.scheme} ${row.step}: ${row.alert_error ?? row.last_error ?? ''}`],
      [row.acknowledged_at, `alert ${row.id} acknowledged by a person`],
      [row.closed_at, `alert ${row.id} closed`],
    ],
    now: (row) => `${tableNames.alert} ${row.id}: ${row.closed_at ? 'closed' : 'open'}, ${row.step}`,
  },
];

/** The sources that this sandbox has, one entry per app and table. */
export function sourcesOf(databases: Databases): Array<Source & { app: App }> {
  return SOURCES.flatMap((source) =>
    (source.app ? [source.app] : databases.apps).map((app) => ({ ...source, app })),
  ).filter(({ app, table }) => databases.has(app, table));
}

const when = (isSo: boolean, event: RowEvent): readonly RowEvent[] => (isSo ? [event] : []);
