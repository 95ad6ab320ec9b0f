import { NOW_MS } from '../core/database/clock-sql.js';
import { recordedSchema } from '../core/database/migrate.js';
import { NOTHING_RECORDED, versionOf, versionText } from '../core/database/schema-versions.js';
import type { TableNames } from '../core/database/table-prefix.js';
import { SCHEMA_COMPONENTS } from '../schema/schema-components.js';
import { type Command, DATABASE, readArguments, type Terminal, UsageError, urlFrom } from './command.js';
import { DatabaseSession } from './database-session.js';
import { durationMs, momentFrom } from './moment.js';
import { type Counts, isoOf, MESSAGE_TABLES, type MessageTable, redriveTable } from './redrive-rows.js';
import { LEFT_OUT, type LeftOut } from './redrive-selection.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = {
  url: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
  contract: { type: 'string' },
  consumer: { type: 'string' },
  'without-receipts': { type: 'boolean' },
  'inbox-retention': { type: 'string' },
  operator: { type: 'string' },
  'dry-run': { type: 'boolean' },
  ...TABLE_PREFIX_OPTION,
} as const;

/** The default of `inbox.retentionMs`. */
const INBOX_RETENTION = '8d';
const PROGRESS_MS = 5_000;
const CONSUMER = /^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/;
const OPERATOR_CHARS_MAX = 64;

/**
 * Sends messages of a sender again that were DONE within a window, after receivers have lost the newest part of their
 * databases. Receivers that have lost nothing know the message ids from their inbox and handle nothing twice.
 */
export const redriveCommand: Command = {
  usage: `redrive --url <mysql://...> --since <time> [--until <time>] [--contract <name>] [--consumer <app.consumer>] [--without-receipts] [--inbox-retention ${INBOX_RETENTION}] [--operator <name>] [--dry-run] ${TABLE_PREFIX_USAGE}`,
  summary: 'sends messages again that were DONE since a time, for receivers that lost their newest rows',
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const { since, until, contract, consumer, operator = null } = values;
    if (since === undefined) throw new UsageError('missing --since, such as 2h or 2026-01-31T12:00:00Z');
    if (consumer !== undefined && !CONSUMER.test(consumer))
      throw new UsageError('--consumer: expected <app>.<consumer>');
    if (operator !== null && operator.length > OPERATOR_CHARS_MAX)
      throw new UsageError(`--operator: expected at most ${OPERATOR_CHARS_MAX} characters`);
    const keptMs = durationMs(values['inbox-retention'] ?? INBOX_RETENTION);
    if (keptMs === undefined) throw new UsageError('--inbox-retention: expected a duration such as 8d');
    const names = tableNamesFrom(values);
    const session = await DatabaseSession.open(urlFrom(values.url, terminal, DATABASE), terminal.signal);
    try {
      const window = await windowOf(session, { since, until, keptMs });
      const tables = await tablesOf(session, names);
      const selection = { contract, consumer, isWithoutReceipts: values['without-receipts'] ?? false };
      const isDryRun = values['dry-run'] ?? false;
      terminal.say(`messages DONE since ${isoOf(window.sinceMs)}, before ${isoOf(window.untilMs)}`);
      for (const table of tables) {
        const counts: Counts = { read: 0, sent: new Map(), leftOut: new Map(), busy: 0 };
        const progress = progressOf(table, terminal);
        try {
          await redriveTable(table, { session, names, selection, ...window, isDryRun, operator, progress }, counts);
        } finally {
          report(table, counts, { isDryRun, say: terminal.say });
        }
      }
      return 0;
    } finally {
      session.close();
    }
  },
};

interface Asked {
  readonly since: string;
  readonly until: string | undefined;
  readonly keptMs: number;
}

/** All times are those of the sender's database, which has written the rows. @throws UsageError */
async function windowOf({ query }: DatabaseSession, { since, until, keptMs }: Asked) {
  const [row] = await query(`SELECT ${NOW_MS} AS ms`);
  const nowMs = Number(row!.ms);
  const sinceMs = momentFrom('since', since, nowMs);
  const untilMs = until === undefined ? nowMs : momentFrom('until', until, nowMs);
  const oldestMs = nowMs - keptMs;
  if (untilMs <= sinceMs) throw new UsageError('--until: expected a later time than --since');
  if (sinceMs < oldestMs)
    throw new UsageError(
      `--since: ${isoOf(sinceMs)} is older than the retention of the inboxes, which begins at ${isoOf(oldestMs)}; receivers ` +
        'park older messages. Use a later time, or --inbox-retention if inbox.retentionMs of the receivers is longer',
    );
  return { sinceMs, untilMs, oldestMs };
}

/** The message tables that the database has. @throws UsageError for a database without one, or behind in its schema */
async function tablesOf({ query }: DatabaseSession, names: TableNames): Promise<MessageTable[]> {
  const recorded = (await recordedSchema(query, 'the look at the versions', names)) ?? NOTHING_RECORDED;
  const versions = MESSAGE_TABLES.map((table) => {
    const { migrations } = SCHEMA_COMPONENTS.find(({ component }) => component === table.component)!;
    return { table, ...versionOf(table.component, migrations, recorded) };
  }).filter(({ present }) => present > 0);
  if (versions.length === 0)
    throw new UsageError(
      `the database has no ${MESSAGE_TABLES.map(({ name }) => names.inDatabase(name)).join(' and no ')}; redrive needs the database of a sender`,
    );
  const behind = versions.find(({ present, needed }) => present < needed);
  if (behind) throw new UsageError(`${versionText(behind)}; run npx nest-dtx migrate${names.argument}`);
  return versions.map(({ table }) => table);
}

function progressOf({ name }: MessageTable, { say }: Terminal): (counts: Counts) => void {
  let saidAt = performance.now();
  return (counts) => {
    if (performance.now() - saidAt < PROGRESS_MS) return;
    saidAt = performance.now();
    say(`${name}: ${counts.read} rows read, ${sumOf(counts.sent)} chosen`);
  };
}

function report(
  { scheme, inOrder }: MessageTable,
  { sent, leftOut, busy }: Counts,
  { isDryRun, say }: { isDryRun: boolean; say: Terminal['say'] },
): void {
  say(
    `${scheme}${inOrder ? ' with a key' : ''}: ${sumOf(sent)} messages ${isDryRun ? 'would be sent' : 'are sent'} again`,
  );
  for (const [to, number] of sent) say(`  ${number} ${to}`);
  for (const [reason, number] of leftOut) say(`  left out: ${number} ${LEFT_OUT[reason as LeftOut]}`);
  if (busy > 0) say(`  left out: ${busy} that another transaction holds or has changed; run it again`);
}

const sumOf = (counts: ReadonlyMap<unknown, number>) => [...counts.values()].reduce((sum, one) => sum + one, 0);
