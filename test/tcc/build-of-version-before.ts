import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildMutant, copyBuild } from '../mutants/build-copy.js';
import { type Library, libraryOf } from './little-app.js';

/**
 * The library of the version before: transactions have no initiator and no incarnation, and second phases have no queue
 * of their own. It is the same build with that taken back, and with the old barrier word for word.
 */
export function versionBefore(set: string): Library {
  const root = buildMutant(copyBuild(set), {
    name: 'version-before',
    does: 'names a transaction by its gid alone',
    breaks: 'two initiators that use one gid pass for repeats of each other',
    foundBy: '',
    edits: [],
  });
  const folder = join(root, 'libs', 'dtx', 'dist', 'tcc');
  writeFileSync(join(folder, 'barrier.js'), BARRIER);
  for (const [find, replace = ''] of EDITS) takeBack(folder, find, replace);
  return libraryOf(root);
}

/** @throws Error unless the text is there exactly once in the folder: otherwise it would not be the version before */
function takeBack(folder: string, find: string, replace: string): void {
  const files = readdirSync(folder).filter((file) => file.endsWith('.js'));
  const places = files.flatMap((file) => {
    const parts = readFileSync(join(folder, file), 'utf8').split(find);
    return parts.slice(1).map(() => ({ file: join(folder, file), text: parts.join(replace) }));
  });
  if (places.length !== 1) throw new Error(`tcc has ${places.length} places, not one, that read: ${find}`);
  writeFileSync(places[0]!.file, places[0]!.text);
}

/** Its barrier has no direct way, and no branch of it joins a commit of the initiator. */
const EDITS: ReadonlyArray<readonly [find: string, replace?: string]> = [
  [`tcc_tables_js_1.tccMigrations)`, `tcc_tables_js_1.tccMigrations.slice(0, 1))`],
  [`incarnation,\n        state: 'TRYING'`, `state: 'TRYING'`],
  [' AND incarnation = ?'],
  ['decidedAt, this.token, id, incarnation]', 'decidedAt, this.token, id]'],
  ['this.outcomes.read(gid, incarnation)', 'this.outcomes.read(gid)'],
  [', begun.incarnation)', ')'],
  [`columns: ['incarnation', `, 'columns: ['],
  ['claim_token, incarnation, decision', 'claim_token, decision'],
  [' AND t.incarnation <=> ? AND b.done_at', ' AND b.done_at'],
  ['ORDER BY b.branch`, [id, incarnation]', 'ORDER BY b.branch`, [id]'],
  [' AND t.incarnation <=> ? AND b.branch', ' AND b.branch'],
  ['[id, incarnation, branches', '[id, branches'],
  [`(m.id, COALESCE(m.incarnation, '\${tcc_tables_js_1.UNKNOWN}')) IN (?) AND `],
  ['only: { sql, values: [names] }', 'only: { sql, values: [] }'],
  [`!(await this.isConsumed(second))`, 'true'],
  ['this.broker.consume((0, participant_contract_js_1.secondQueueOf)(participant.contract), receive, second)'],
  ['firstOwn(branches, about) {', 'firstOwn(branches, about) { branches = [];'],
  ['initiator: this.core.app,\n            incarnation,\n'],
];

const BARRIER = `const { NOW } = require('../core/database/clock-sql.js');
const { insertFirst } = require('../core/database/insert-first.js');
Object.assign(exports, { markBroken, enterTry, keepData, enterConfirm, enterCancel, directEntry: () => undefined });
async function markBroken() {}
async function enterTry(tx, key) {
  if (await record(tx, key, 'try', 'try')) return { kind: 'run', data: undefined, tried: false };
  const { first, second } = await passed(tx, key);
  return first?.op === 'try' && second?.op !== 'cancel' ? { kind: 'repeat', data: first.data } : { kind: 'late' };
}
async function keepData(tx, key, data) {
  if (data === undefined) return;
  const sql = "UPDATE dtx_tcc_barrier SET data = ? WHERE gid = ? AND branch = ? AND phase = 'try'";
  await tx.query(sql, [JSON.stringify(data), key.gid, key.branch]);
}
async function enterConfirm(tx, key) {
  const isFirst = await record(tx, key, 'second', 'confirm');
  const { first, second } = await passed(tx, key);
  if (second?.op !== 'confirm') return { kind: 'illegal', what: 'Confirm after Cancel' };
  if (first?.op !== 'try') return { kind: 'illegal', what: 'Confirm without Try' };
  return isFirst ? { kind: 'run', data: first.data, tried: true } : { kind: 'repeat', data: undefined };
}
async function enterCancel(tx, key, withoutTry) {
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
