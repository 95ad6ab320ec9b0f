// The notifications of a purchase: at the notification service, and at the merchant.
import { tableNames } from 'nest-dtx/testing';
import type { Source } from './row-sources.js';
import { workOf } from './row-state-in-words.js';

export const NOTIFY_SOURCES: readonly Source[] = [
  {
    table: tableNames.notification,
    events: (row) => [
      [row.created_at, `${row.type} recorded by the notification service, for ${row.target_host}`],
      [
        row.settled_at,
        row.state === 'DELIVERED' ? `${row.type} taken by ${row.target_host}` : `${row.type} ${row.state}`,
      ],
    ],
    now: (row) => `${tableNames.notification} ${row.type} to ${row.target_host}: ${workOf(row)}`,
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
];
