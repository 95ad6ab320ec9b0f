// XA transactions of a window whose decision and whose witnesses do not belong together.
import { idTimeMs } from 'nest-dtx';
import { tableNames } from 'nest-dtx/testing';
import { logIdOf, logStateOf } from '../xa-log-state.js';
import type { Finder } from './index.js';
import { present, rowsSince } from './walk.js';

const CHUNK = 1_000;

/** A branch was committed, and the log has no decision of it: the database of the log has lost its tail. */
export const witnessesWithoutDecision: Finder = {
  kind: 'XA witnesses without a decision',
  todo:
    'the branches are committed and the order app lost the decision with its order. Write the order again or undo the ' +
    'branches, then POST /dtx/transactions/log.tail/resolve {"outcome":"done"} at the order app',
  needs: ['order'],
  find: async ({ databases, sinceMs, progress }) => {
    const logId = await logIdOf(databases);
    if (logId === null) return [];
    const { trustedFromMs } = await logStateOf(databases);
    const from = Math.max(sinceMs, trustedFromMs);
    const found: string[] = [];
    for (const app of databases.apps.filter((one) => databases.has(one, tableNames.xaWitness))) {
      for (let after: string | null = `${logId}.`, read = 0; after !== null; ) {
        const rows: Array<{ gtrid: string }> = await databases.query(
          app,
          `SELECT gtrid FROM ${tableNames.xaWitness} WHERE gtrid > ? AND gtrid < ? AND who = 'branch' ORDER BY gtrid LIMIT ${CHUNK}`,
          [after, `${logId}/`],
        );
        read += rows.length;
        progress(app, tableNames.xaWitness, read);
        const ids = rows.map(({ gtrid }) => gtrid.slice(-36)).filter((id) => (idTimeMs(id) ?? 0) >= from);
        const known = await present(databases, { app: 'order', table: tableNames.xa, key: 'id' }, ids);
        found.push(...ids.filter((id) => !known.has(id)).map((id) => `${id}: committed at ${app}`));
        after = rows.length === CHUNK ? rows[CHUNK - 1]!.gtrid : null;
      }
    }
    return found;
  },
};

interface Decision {
  readonly id: string;
  readonly gid: string;
  readonly gtrid: string;
  readonly branches: string;
}

/** A decision to commit is carried out, and a branch has no witness: the database of the branch has lost its tail. */
export const decisionsWithoutWitness: Finder = {
  kind: 'XA decisions without a witness',
  todo: 'the branch was committed and its database lost it. Write its business by hand, or undo the purchase in the other databases',
  needs: ['order'],
  find: async (tail) => {
    const { databases } = tail;
    const found: string[] = [];
    const where = `decision = 'COMMIT' AND state = 'DONE'`;
    const source = {
      app: 'order',
      table: tableNames.xa,
      key: 'id',
      columns: 'id, gid, gtrid, branches',
      where,
    } as const;
    for await (const rows of rowsSince<Decision>(tail, source)) {
      for (const app of databases.apps.filter((one) => databases.has(one, tableNames.xaWitness))) {
        const of = rows.filter(({ branches }) => branches.split(',').includes(app));
        const key = { app, table: tableNames.xaWitness, key: 'gtrid', where: `who = 'branch'` } as const;
        const known = await present(
          databases,
          key,
          of.map(({ gtrid }) => gtrid),
        );
        found.push(
          ...of.filter(({ gtrid }) => !known.has(gtrid)).map(({ id, gid }) => `${id} (gid ${gid}): lost at ${app}`),
        );
      }
    }
    return found;
  },
};
