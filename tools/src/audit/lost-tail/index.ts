// What an asynchronous failover has left: rows of a window that one database has and another one has lost. The system may be
// in use meanwhile, so only a finding that stays counts.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Say } from '../../cli/say-type.js';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';
import type { AuditCheck, AuditReport } from '../check-types.js';
import { parkedRows } from '../durable-rows.js';
import { messagesWithoutEffect, messagesWithoutSender } from './messages.js';
import { effectsWithoutOrder, lostNotifications, ordersWithoutEffect, tccWithoutBranch } from './purchases.js';
import type { Tail } from './walk.js';
import { decisionsWithoutWitness, witnessesWithoutDecision } from './xa.js';

export interface Finder {
  readonly kind: string;
  /** What an operator does about a finding. */
  readonly todo: string;
  /** Databases without which an absence proves nothing. */
  readonly needs: readonly App[];
  /** One line per finding, beginning with its id. */
  readonly find: (tail: Tail) => Promise<string[]>;
}

const FINDERS: readonly Finder[] = [
  effectsWithoutOrder,
  ordersWithoutEffect,
  tccWithoutBranch,
  witnessesWithoutDecision,
  decisionsWithoutWitness,
  messagesWithoutEffect,
  messagesWithoutSender,
  lostNotifications,
];

const PROGRESS_MS = 5_000;
/** A transaction that is under way ends within this time, or its own retries have begun. */
const STAYS_MS = 10_000;

export interface LostTailOptions {
  readonly sinceMs: number;
  readonly name: string;
  readonly say: Say;
  readonly staysMs?: number;
}

/** Compares the databases over all rows whose purchase or message began in the window. */
export async function auditLostTail(databases: Databases, options: LostTailOptions): Promise<AuditReport> {
  const { sinceMs, name, say, staysMs = STAYS_MS } = options;
  const tail = { databases, sinceMs, progress: progressTo(say) };
  const usable = FINDERS.filter(({ needs }) => needs.every((app) => databases.apps.includes(app)));
  let found = await findAll(usable, tail);
  if (found.some(({ lines }) => lines.length > 0)) {
    say(`looking again in ${staysMs / 1_000} s, since some of it may be under way`);
    await sleep(staysMs);
    const again = await findAll(
      usable.filter((_, index) => found[index]!.lines.length > 0),
      tail,
    );
    found = found.map(({ finder, lines }) => {
      const still = new Set(again.find((one) => one.finder === finder)?.lines);
      return { finder, lines: lines.filter((line) => still.has(line)) };
    });
  }
  const parked = await parkedRows(databases);
  const checks = found.map(({ finder, lines }): AuditCheck => {
    const todo = lines.length > 0 ? { todo: finder.todo } : {};
    return { name: finder.kind, ok: lines.length === 0, figures: { found: lines.length }, violations: lines, ...todo };
  });
  return { ok: checks.every(({ ok }) => ok), nothing: false, sandbox: name, parked, checks };
}

async function findAll(finders: readonly Finder[], tail: Tail) {
  const found: Array<{ finder: Finder; lines: string[] }> = [];
  for (const finder of finders) found.push({ finder, lines: await finder.find(tail) });
  return found;
}

function progressTo(say: Say): Tail['progress'] {
  let saidAt = performance.now();
  return (app, table, rows) => {
    if (performance.now() - saidAt < PROGRESS_MS) return;
    saidAt = performance.now();
    say(`${app}.${table}: ${rows} rows compared`);
  };
}
