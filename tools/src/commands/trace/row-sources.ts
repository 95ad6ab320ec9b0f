// Which tables have rows of a purchase, and how to read each. A table that a sandbox does not have is left out.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';
import { NOTIFY_SOURCES } from './notify-sources.js';
import { workOf } from './row-state-in-words.js';

/** A row of any of these tables, as far as it is read here. */
export interface Row {
  readonly [column: string]: unknown;
  readonly state: string;
  readonly attempts: number | string;
  readonly next_attempt_at: Date | null;
  readonly last_error: string | null;
  readonly created_at: Date;
  readonly sent_at: Date | null;
  readonly done_at: Date | null;
  readonly settled_at: Date | null;
  readonly deadline: Date;
  readonly awaiting: string | null;
}

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
    table: tableNames.outbox,
    events: (row) => [
      [row.created_at, `${row.contract} written with the business rows`],
      ...when(!isSameTime(row.sent_at, row.done_at), [
        row.sent_at,
        `${row.contract} marked SENT: the broker has confirmed it`,
      ]),
      [row.done_at, `${row.contract} marked ${row.state}: every consumer has sent its receipt`],
    ],
    now: (row) =>
      `${tableNames.outbox} ${row.contract}: ${workOf(row)}${listOf(row.awaiting) ? `, no receipt from ${listOf(row.awaiting)}` : ''}`,
  },
  {
    table: tableNames.half,
    events: (row) => [
      [
        row.created_at,
        row.state === 'ROLLED_BACK'
          ? `half message ${row.contract} ruled ROLLED_BACK`
          : `half message ${row.contract}: verdict COMMITTED, written with the business rows`,
      ],
      ...when(!isSameTime(row.sent_at, row.done_at), [
        row.sent_at,
        `half message ${row.contract} marked SENT: the broker has confirmed it`,
      ]),
      [row.done_at, `half message ${row.contract} marked ${row.state}: every consumer has sent its receipt`],
    ],
    now: (row) =>
      `${tableNames.half} ${row.contract}: ${workOf(row)}${listOf(row.awaiting) ? `, no receipt from ${listOf(row.awaiting)}` : ''}`,
  },
  {
    table: tableNames.halfParked,
    events: (row) => [
      [row.created_at, 'the last check of a prepared copy met an open local transaction'],
      [row.settled_at, 'the prepared copy is settled'],
    ],
    now: (row) => `${tableNames.halfParked} ${row.id}: ${workOf(row)}`,
  },
  {
    table: tableNames.inbox,
    events: (row) => [
      ...when(!isSameTime(row.created_at, row.settled_at), [
        row.created_at,
        `${row.consumer} stored ${row.type} to try it again`,
      ]),
      [row.settled_at, `${row.consumer} ${row.state} ${row.type}${row.outcome ? ` (${row.outcome})` : ''}`],
    ],
    now: (row) => `${tableNames.inbox} ${row.consumer}: ${workOf(row)}`,
  },
  {
    table: tableNames.tcc,
    events: (row) => [
      [row.created_at, `TCC transaction registered with all its branches; deadline ${timeOf(row.deadline)}`],
      [row.decided_at, `TCC decided to ${row.decision}${row.reason ? ` (${row.reason})` : ''}`],
      [row.settled_at, `TCC transaction marked ${row.state}: every branch has answered`],
    ],
    now: (row) => `${tableNames.tcc}: ${workOf(row)}${row.reason ? ` (${row.reason})` : ''}`,
  },
  {
    table: tableNames.tccBranch,
    events: (row) => [[row.done_at, `TCC branch ${row.branch} (${row.participant}) marked done, others had failed`]],
    now: (row) => `${tableNames.tccBranch} ${row.branch}: ${row.participant} v${row.version} ${row.args}`,
  },
  {
    table: tableNames.tccBarrier,
    events: (row) => [
      [
        row.created_at,
        `${row.participant} let ${wordOf(row)} of ${row.initiator} through its barrier, in one commit with it`,
      ],
    ],
    now: (row) => `${tableNames.tccBarrier} ${row.participant} ${row.phase} of ${row.initiator}: ${row.op}`,
  },
  ...NOTIFY_SOURCES,
  {
    table: tableNames.xa,
    events: (row) => [
      [row.created_at, `XA transaction begun on ${row.branches}`],
      [
        row.decided_at,
        `XA decided to ${row.decision}${row.decision === 'COMMIT' ? ', in one commit with the order' : ''}`,
      ],
      [row.done_at, 'XA transaction marked DONE: every branch has carried it out'],
    ],
    now: (row) => `${tableNames.xa} ${row.decision}: ${workOf(row)}`,
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
const listOf = (awaiting: string | null) => (awaiting ?? '').split(',').filter(Boolean).join(', ');
const timeOf = (date: Date) => date.toISOString().slice(11, 23);
/** A Cancel in the place of a Try keeps a late Try out. */
const wordOf = ({ phase, op }: Row) => (phase === 'try' && op === 'cancel' ? 'no more Try' : op);
const isSameTime = (one: Date | null, other: Date | null) => one?.getTime() === other?.getTime();
