import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildMutant, copyBuild, type Edit } from '../mutants/mutant.js';
import { type Library, libraryOf } from './little-app.js';

/**
 * The library as it was before a transaction had initiator and incarnation, and before second phases had a queue of their
 * own, to run beside the one as built: the same build, with that taken back, and the barrier word for word as it was.
 */
export function versionBefore(set: string): Library {
  const root = buildMutant(copyBuild(set), {
    name: 'version-before',
    does: 'names a transaction by its gid alone',
    breaks: 'two initiators that use one gid pass for repeats of each other',
    foundBy: '',
    edits,
  });
  writeFileSync(join(root, 'libs', 'dtx', 'dist', 'tcc', 'barrier.js'), BARRIER);
  return libraryOf(root);
}

const off = (file: string, find: string, replace = ''): Edit => ({ file: `tcc/${file}.js`, find, replace });

const edits: Edit[] = [
  off('transaction', `addMigrations('dtx-tcc', tccMigrations)`, `addMigrations('dtx-tcc', tccMigrations.slice(0, 1))`),
  off('transaction', `incarnation,\n                state: 'TRYING'`, `state: 'TRYING'`),
  off('transaction', ' AND incarnation = ?'),
  off('transaction', 'decidedAt, this.token, gid, incarnation]', 'decidedAt, this.token, gid]'),
  off('transaction', 'this.outcomes.read(gid, incarnation)', 'this.outcomes.read(gid)'),
  off('transaction', ', begun.incarnation)', ')'),
  off('tcc-tables', `columns: ['incarnation', `, 'columns: ['),
  off('outcome', 'claim_token, incarnation, decision', 'claim_token, decision'),
  off('outcome', ' AND t.incarnation <=> ? AND b.done_at', ' AND b.done_at'),
  off('outcome', 'ORDER BY b.branch`, [id, incarnation]', 'ORDER BY b.branch`, [id]'),
  off('outcome', ' AND t.incarnation <=> ? AND b.branch', ' AND b.branch'),
  off('outcome', '[id, incarnation, branches', '[id, branches'),
  off('second-phase', `(m.id, COALESCE(m.incarnation, '\${UNKNOWN}')) IN (?) AND `),
  off('second-phase', 'only: { sql, values: [names] }', 'only: { sql, values: [] }'),
  off('calls', `call.phase === 'try' || !(await this.isConsumed(second))`, 'true'),
  off(
    'endpoint',
    ', this.broker.consume(secondQueueOf(participant.contract), receive, { prefetch: secondPhasePrefetch })',
  ),
  off(
    'calls',
    'const call = { ...about, initiator, callId',
    'const { incarnation: _, ...old } = about;\nconst call = { ...old, callId',
  ),
];

const BARRIER = `import { insertFirst, NOW } from '../core/database/insert-first.js';
export async function markBroken() {}
export async function enterTry(tx, key) {
  if (await record(tx, key, 'try', 'try')) return { kind: 'run', data: undefined, tried: false };
  const { first, second } = await passed(tx, key);
  return first?.op === 'try' && second?.op !== 'cancel' ? { kind: 'repeat', data: first.data } : { kind: 'late' };
}
export async function keepData(tx, key, data) {
  if (data === undefined) return;
  const sql = "UPDATE dtx_tcc_barrier SET data = ? WHERE gid = ? AND branch = ? AND phase = 'try'";
  await tx.query(sql, [JSON.stringify(data), key.gid, key.branch]);
}
export async function enterConfirm(tx, key) {
  const isFirst = await record(tx, key, 'second', 'confirm');
  const { first, second } = await passed(tx, key);
  if (second?.op !== 'confirm') return { kind: 'illegal', what: 'Confirm after Cancel' };
  if (first?.op !== 'try') return { kind: 'illegal', what: 'Confirm without Try' };
  return isFirst ? { kind: 'run', data: first.data, tried: true } : { kind: 'repeat', data: undefined };
}
export async function enterCancel(tx, key, withoutTry) {
  const isUntried = await record(tx, key, 'try', 'cancel');
  const isFirst = await record(tx, key, 'second', 'cancel');
  if (isUntried && isFirst) return withoutTry ? { kind: 'run', data: undefined, tried: false } : { kind: 'skip' };
  const { first, second } = await passed(tx, key);
  if (second?.op !== 'cancel') return { kind: 'illegal', what: 'Cancel after Confirm' };
  return isFirst ? { kind: 'run', data: first?.data, tried: true } : { kind: 'repeat', data: undefined };
}
function record(tx, key, phase, op) {
  const { gid, branch, participant } = key;
  return insertFirst(tx, 'dtx_tcc_barrier', { gid, branch, phase, op, participant, created_at: NOW });
}
async function passed(tx, { gid, branch }) {
  const rows = await tx.query(
    "SELECT phase, op, data FROM dtx_tcc_barrier WHERE gid = ? AND branch = ? AND phase IN ('try', 'second') LOCK IN SHARE MODE",
    [gid, branch],
  );
  const of = (phase) => {
    const row = rows.find((one) => one.phase === phase);
    return row && { op: row.op, data: row.data === null ? undefined : JSON.parse(row.data) };
  };
  return { first: of('try'), second: of('second') };
}
`;
