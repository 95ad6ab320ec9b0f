// Reads everything about branches that are in doubt.

import { tableNames } from 'nest-dtx/testing';
import { openOnes } from '../../audit/open-transactions.js';
import { type LogState, logIdOf, logStateOf } from '../../audit/xa-log-state.js';
import { type PreparedBranch, preparedOn } from '../../audit/xa-prepared-branches.js';
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';

/** One round of recovery and one lease: after that an overdue branch is stuck, not late. */
const PATIENCE_MS = 10_000;
const OPEN_MAX = 100;

interface Verdict {
  /** The decision in the log. */
  readonly log: string;
  /** Who ends the branch next. */
  readonly next: string;
}

export type ExaminedBranch = PreparedBranch & Verdict & { readonly preparedForMs: number | null };

interface OpenDecision {
  id: string;
  gid: string;
  decision: string | null;
  state: string;
  branches: string;
  attempts: number;
  last_error: string | null;
}

interface Lock {
  readonly app: App;
  readonly lockedRows: number;
  readonly forSeconds: number;
}

interface Findings {
  readonly isWell: boolean;
  readonly logId: string | null;
  readonly log: LogState;
  readonly branches: readonly ExaminedBranch[];
  readonly decisions: readonly OpenDecision[];
  readonly locks: readonly Lock[];
}

/** The findings in a sandbox, by its name. */
export interface Examination extends Findings {
  readonly sandbox: string;
}

export async function examine(databases: Databases): Promise<Findings> {
  const logId = await logIdOf(databases);
  const log = await logStateOf(databases);
  const prepared = await preparedOn(databases);
  const decisions = logId === null ? [] : await openDecisions(databases);
  const known = await knownDecisions(databases, prepared, logId);
  const nowMs = await serverNow(databases);
  const branches = prepared.map((branch) => ({
    ...branch,
    ...verdictOn(branch, known.get(branch.id ?? ''), log, nowMs),
    preparedForMs: branch.startMs === undefined ? null : nowMs - branch.startMs,
  }));
  const isLate = ({ whose, deadlineMs = 0 }: PreparedBranch) => whose === 'own' && nowMs > deadlineMs + PATIENCE_MS;
  const isWell =
    !branches.some(isLate) && !decisions.some(({ state }) => state === 'PARKED') && log.isWhole && log.isHome;
  return { isWell, logId, log, branches, decisions, locks: await locksOf(databases) };
}

interface KnownDecision {
  id: string;
  decision: string | null;
  state: string;
}

function verdictOn(
  { whose, startMs = 0, deadlineMs = 0 }: PreparedBranch,
  decision: KnownDecision | undefined,
  log: LogState,
  nowMs: number,
): Verdict {
  if (whose !== 'own') return { log: '-', next: 'nothing: its own transaction manager ends it' };
  if (!log.isHome) return { log: '-', next: 'nothing: the log is not where it belongs, an operator must confirm it' };
  if (decision?.state === 'PARKED')
    return { log: 'PARKED', next: 'nothing by itself: an operator decides, see the alert' };
  if (decision?.decision === 'COMMIT')
    return { log: 'COMMIT', next: 'it is committed, by its manager or the next scan' };
  if (decision?.decision === 'ROLLBACK') return { log: 'ROLLBACK', next: 'it is rolled back by the next scan' };
  const leftMs = deadlineMs - nowMs;
  if (leftMs > 0) return { log: 'undecided', next: `at work: it has ${leftMs} ms to be decided` };
  if (startMs <= log.doubtedUntilMs)
    return { log: 'unknown: it has lost rows', next: 'nothing by itself: an operator decides, see the alert' };
  return { log: 'undecided', next: 'past its deadline: the next scan decides ROLLBACK and rolls it back' };
}

async function knownDecisions(
  databases: Databases,
  prepared: readonly PreparedBranch[],
  logId: string | null,
): Promise<Map<string, KnownDecision>> {
  const ids = prepared.filter(({ whose }) => whose === 'own').map(({ id }) => id);
  if (logId === null || ids.length === 0) return new Map();
  const rows = await databases.query<KnownDecision>(
    'order',
    `SELECT id, decision, state FROM ${tableNames.xa} WHERE id IN (?)`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** Decisions that are not carried out, with or without a visible branch. */
function openDecisions(databases: Databases): Promise<OpenDecision[]> {
  return databases.query<OpenDecision>(
    'order',
    `SELECT id, gid, decision, state, branches, attempts, last_error FROM ${tableNames.xa}
     WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT ${OPEN_MAX}`,
  );
}

/** Transactions that belong to no connection: branches whose process has died, with the age of their locks. */
async function locksOf(databases: Databases): Promise<Lock[]> {
  const found: Lock[] = [];
  for (const app of databases.apps) {
    const rows = (await openOnes(databases, app)).filter(({ thread }) => Number(thread) === 0);
    for (const { age, locked } of rows) found.push({ app, lockedRows: Number(locked), forSeconds: Number(age) });
  }
  return found;
}

async function serverNow(databases: Databases): Promise<number> {
  if (!databases.apps.includes('order')) return Date.now();
  const sql = `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms`;
  const [now] = await databases.query<{ ms: bigint }>('order', sql);
  return Number(now!.ms);
}
