// Prepared XA branches as the servers list them, and their owners. A gtrid of the library names the decision log that
// decides it (every deployment has its own), the row there, the start, and how long it may stay undecided.

import { parseXaGtrid, XA_FORMAT_ID } from 'nest-dtx';
import type { Databases } from '../sandbox/database-reader.js';
import { bytesOfXid, type ListedXid } from '../sandbox/xid-bytes.js';
import type { App } from '../servers/server-set.js';
import { logIdOf } from './xa-log-state.js';

export interface PreparedBranch {
  /** The app of the database server that lists it. */
  readonly app: App;
  readonly formatId: number;
  readonly gtrid: string;
  readonly branch: string;
  readonly whose: 'own' | 'another deployment' | 'another program';
  /** Of the transaction. This and the times are absent for another program. */
  readonly id?: string;
  readonly startMs?: number;
  readonly deadlineMs?: number;
}

/** Every prepared branch of every server. */
export async function preparedOn(databases: Databases): Promise<PreparedBranch[]> {
  const own = await logIdOf(databases);
  const found: PreparedBranch[] = [];
  for (const app of databases.apps) {
    const rows = await databases
      .query<ListedXid>(app, 'XA RECOVER CONVERT XID')
      .catch(() => databases.query<ListedXid>(app, 'XA RECOVER'));
    found.push(...rows.map((row) => branchOf(app, row, own)));
  }
  return found;
}

function branchOf(app: App, row: ListedXid, own: string | null): PreparedBranch {
  const bytes = bytesOfXid(row);
  const length = Number(row.gtrid_length);
  const gtrid = bytes.toString('latin1', 0, length);
  const common = { app, formatId: Number(row.formatID), gtrid, branch: bytes.toString('latin1', length) };
  const parsed = common.formatId === XA_FORMAT_ID ? parseXaGtrid(gtrid) : null;
  if (!parsed) return { ...common, whose: 'another program' };
  const { logId, id, startMs, deadlineMs } = parsed;
  return { ...common, whose: logId === own ? 'own' : 'another deployment', id, startMs, deadlineMs };
}
