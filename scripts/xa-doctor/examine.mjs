// What a person wants to know of branches that are in doubt. It only reads.
import { openOnes } from '../audit/open-transactions.mjs';
import { logIdOf, logStateOf, preparedOn } from '../audit/xa-branches.mjs';
import { formatTable } from '../command/table.mjs';

/** A round of the recovery, and a lease: after that an overdue branch of ours is stuck, not late. */
const PATIENCE_MS = 10_000;
const OPEN_MAX = 100;

/**
 * @returns {Promise<{ isWell: boolean, logId: string | null, log: object, branches: object[], decisions: object[], locks: object[] }>}
 */
export async function examine(databases) {
  const logId = await logIdOf(databases);
  const log = await logStateOf(databases);
  const prepared = await preparedOn(databases);
  const decisions = logId === null ? [] : await openDecisions(databases);
  const known = await knownDecisions(databases, prepared, logId);
  const nowMs = await serverNow(databases);
  const branches = prepared.map((branch) => ({
    ...branch,
    ...verdictOn(branch, known.get(branch.id), { log, nowMs }),
    preparedForMs: branch.startMs === undefined ? null : nowMs - branch.startMs,
  }));
  const isLate = ({ whose, deadlineMs }) => whose === 'own' && nowMs > deadlineMs + PATIENCE_MS;
  const isWell =
    !branches.some(isLate) && !decisions.some(({ state }) => state === 'PARKED') && log.isWhole && log.isHome;
  return { isWell, logId, log, branches, decisions, locks: await locksOf(databases) };
}

/** What the log says of a branch, and what will be done. */
function verdictOn({ whose, startMs, deadlineMs }, decision, { log, nowMs }) {
  if (whose !== 'own') return { log: '-', next: 'nothing: it is not ours, its own manager ends it' };
  if (!log.isHome) return { log: '-', next: 'nothing: the log is not where it belongs, a person says whose it is' };
  if (decision?.state === 'PARKED')
    return { log: 'PARKED', next: 'nothing by itself: a person decides, see the alert' };
  if (decision?.decision === 'COMMIT')
    return { log: 'COMMIT', next: 'it is committed, by its manager or the next scan' };
  if (decision?.decision === 'ROLLBACK') return { log: 'ROLLBACK', next: 'it is rolled back by the next scan' };
  const leftMs = deadlineMs - nowMs;
  if (leftMs > 0) return { log: 'undecided', next: `at work: it has ${leftMs} ms to be decided` };
  if (startMs <= log.doubtedUntilMs)
    return { log: 'unknown: it has lost rows', next: 'nothing by itself: a person decides, see the alert' };
  return { log: 'undecided', next: 'past its deadline: the next scan decides ROLLBACK and rolls it back' };
}

async function knownDecisions(databases, prepared, logId) {
  const ids = prepared.filter(({ whose }) => whose === 'own').map(({ id }) => id);
  if (logId === null || ids.length === 0) return new Map();
  const rows = await databases.query('order', 'SELECT id, decision, state FROM dtx_xa WHERE id IN (?)', [ids]);
  return new Map(rows.map((row) => [row.id, row]));
}

/** Decisions that are not carried out, whether or not a branch of theirs can be seen. */
function openDecisions(databases) {
  return databases.query(
    'order',
    `SELECT id, gid, decision, state, branches, attempts, last_error FROM dtx_xa
     WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT ${OPEN_MAX}`,
  );
}

/** Transactions that belong to no connection: branches whose process is gone, and how long they have held their locks. */
async function locksOf(databases) {
  const found = [];
  for (const app of databases.apps) {
    const rows = (await openOnes(databases, app)).filter(({ thread }) => Number(thread) === 0);
    for (const { age, locked } of rows) found.push({ app, lockedRows: Number(locked), forSeconds: Number(age) });
  }
  return found;
}

async function serverNow(databases) {
  if (!databases.apps.includes('order')) return Date.now();
  const sql = `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms`;
  return Number((await databases.query('order', sql))[0].ms);
}

/** The findings as text. */
export function reportOf({ world, isWell, logId, log, branches, decisions, locks }) {
  const lines = [`world ${world}: ${isWell ? 'well' : 'NOT WELL'}; decision log ${logId ?? 'none yet'}`];
  if (!log.isHome) lines.push(`  the log is bound to ${log.home}, and is read from ${log.here}`);
  if (!log.isWhole) lines.push('  the log has lost its sentinel row: rows are missing');
  if (branches.length === 0) lines.push('  no server has a prepared branch');
  else lines.push(...indent(branchTable(branches)));
  if (decisions.length > 0) {
    lines.push('  decisions that are not carried out:');
    for (const { id, gid, decision, state, attempts, last_error: error } of decisions)
      lines.push(
        `    ${id} (gid ${gid}): ${decision ?? 'not known'}, ${state}, attempts ${attempts}${error ? `: ${error}` : ''}`,
      );
  }
  for (const { app, lockedRows, forSeconds } of locks)
    lines.push(`  ${app}: a transaction without a connection has locked ${lockedRows} rows for ${forSeconds} s`);
  return lines.join('\n');
}

function branchTable(branches) {
  const header = ['server', 'branch', 'whose', 'transaction', 'prepared for', 'the log says', 'what is done'];
  const cells = branches.map(({ app, branch, whose, id, gtrid, preparedForMs, log, next }) => [
    app,
    printable(branch),
    whose,
    id ?? printable(gtrid),
    preparedForMs === null ? '?' : `${(preparedForMs / 1_000).toFixed(1)} s`,
    log,
    next,
  ]);
  return formatTable(header, cells);
}

const indent = (text) => text.split('\n').map((line) => `  ${line}`);
/** Ids of other programs may be any bytes. */
const printable = (text) => JSON.stringify(text.slice(0, 40)).slice(1, -1);
