import { inboxMigrations } from '../core/consumer/inbox-table.js';
import { servedMigrations } from '../core/consumer/served-consumer-heartbeats.js';
import { idempotencyMigrations } from '../core/database/idempotency-keys.js';
import type { Migration } from '../core/database/migrate.js';
import { alertMigrations } from '../core/durable/alert-and-operation-tables.js';
import { queueWatchMigrations } from '../core/durable/unattended-queues.js';
import { OptionsError } from '../core/errors/errors.js';
import { halfMessageMigrations } from '../half-message/half-message-tables.js';
import { keyedMigrations } from '../local-message/order/keyed-table.js';
import { outboxMigrations } from '../local-message/outbox-table.js';
import { notifyMigrations } from '../notify/notification-table.js';
import { probeMigrations } from '../ops/readiness.js';
import { sagaMigrations } from '../saga/saga-tables.js';
import { tccIndexMigrations, tccMigrations } from '../tcc/tcc-tables.js';
import { decisionMigrations, WITNESS, witnessMigrations } from '../xa/xa-tables.js';

/**
 * The schemes by which tables are chosen. `xa` is the program that decides (`XaModule.forRoot`), `xa-participant` an app
 * in whose database branches work (`XaModule.forParticipant`). `confirmed-publish` has no table of its own.
 * @example
 *   for (const scheme of TABLE_SCHEMES) console.log(scheme); // local-message, half-message, ...
 */
export const TABLE_SCHEMES = [
  'local-message',
  'half-message',
  'confirmed-publish',
  'tcc',
  'saga',
  'xa',
  'xa-participant',
  'notify',
] as const;
/** One of `TABLE_SCHEMES`. */
export type TableScheme = (typeof TABLE_SCHEMES)[number];

/** One component of `dtx_schema_version`. */
export interface SchemaComponent {
  /** The name in `dtx_schema_version`. */
  readonly component: string;
  /** The scheme that needs it. `core`: every app needs it. */
  readonly scheme: TableScheme | 'core';
  /** Part of the names of `dtxMigrations`, so it never changes. */
  readonly number: number;
  readonly migrations: readonly Migration[];
}

/** Every component of the library, in the order in which they are migrated. New ones get the next number. */
export const SCHEMA_COMPONENTS: readonly SchemaComponent[] = [
  { component: 'dtx-alert', scheme: 'core', number: 1, migrations: alertMigrations },
  { component: 'dtx-inbox', scheme: 'core', number: 2, migrations: inboxMigrations },
  { component: 'dtx-idempotency', scheme: 'core', number: 3, migrations: idempotencyMigrations },
  { component: 'dtx-served', scheme: 'core', number: 4, migrations: servedMigrations },
  { component: 'dtx-queue', scheme: 'core', number: 5, migrations: queueWatchMigrations },
  { component: 'dtx-ready', scheme: 'core', number: 6, migrations: probeMigrations },
  { component: 'dtx-local-message', scheme: 'local-message', number: 7, migrations: outboxMigrations },
  { component: 'dtx-half-message', scheme: 'half-message', number: 8, migrations: halfMessageMigrations },
  { component: 'dtx-tcc', scheme: 'tcc', number: 9, migrations: tccMigrations },
  { component: 'dtx-tcc-index', scheme: 'tcc', number: 10, migrations: tccIndexMigrations },
  { component: 'dtx-xa', scheme: 'xa', number: 11, migrations: decisionMigrations },
  { component: WITNESS, scheme: 'xa-participant', number: 12, migrations: witnessMigrations },
  { component: 'dtx-notify', scheme: 'notify', number: 13, migrations: notifyMigrations },
  { component: 'dtx-saga', scheme: 'saga', number: 14, migrations: sagaMigrations },
  { component: 'dtx-keyed', scheme: 'local-message', number: 15, migrations: keyedMigrations },
];

/**
 * The components of these schemes, with those that every app needs.
 * @param schemes all schemes by default
 * @throws OptionsError for an unknown scheme
 */
export function componentsOf(schemes: readonly TableScheme[] = TABLE_SCHEMES): SchemaComponent[] {
  const unknown = schemes.find((scheme) => !TABLE_SCHEMES.includes(scheme));
  if (unknown !== undefined)
    throw new OptionsError(`unknown scheme "${unknown}": expected one or more of ${TABLE_SCHEMES.join(', ')}`);
  return SCHEMA_COMPONENTS.filter(({ scheme }) => scheme === 'core' || schemes.includes(scheme));
}

/** A table, and one of its columns. */
export interface CreatedTable {
  readonly name: string;
  readonly column: string;
}

/** The tables that these components create. */
export function tablesOf(components: readonly SchemaComponent[]): CreatedTable[] {
  const statements = components.flatMap(({ migrations }) => migrations.flatMap(({ up }) => up));
  const texts = statements.map((one) => (typeof one === 'string' ? one : one.sql));
  return texts.flatMap((sql) => {
    const [, name, column] = /^CREATE TABLE IF NOT EXISTS (dtx_\w+) \(\s*(\w+)/.exec(sql) ?? [];
    return name && column ? [{ name, column }] : [];
  });
}
