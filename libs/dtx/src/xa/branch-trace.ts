import { Injectable, OnModuleInit } from '@nestjs/common';
import { isoTime } from '../core/durable/alerts.js';
import { consumersIn, type TableRow } from '../core/durable/durable-table.js';
import { Operations, type TracedRow, type TraceReader } from '../core/durable/operations-registry.js';
import { textOf } from '../core/errors/errors.js';
import { SCHEME } from './failpoints.js';
import type { ResourceManager } from './resource-manager.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { XA } from './xa-tables.js';

/** Transactions of one gid whose branches are asked for. A gid has one, unless a caller repeats it. */
const TRANSACTIONS_MAX = 5;

/** What a server says about one branch: committed, rolled back by recovery, prepared, or neither. */
interface BranchState {
  readonly state: string;
  readonly at: string | null;
  readonly error: string | null;
}

/**
 * The branches of a transaction, as each branch database shows them. It reads on sessions of recovery, and only for the
 * view of one transaction.
 */
@Injectable()
export class BranchTrace implements TraceReader, OnModuleInit {
  readonly source = 'dtx_xa_witness';

  constructor(
    private readonly operations: Operations,
    private readonly managers: ResourceManagers,
  ) {}

  onModuleInit(): void {
    if (this.managers.branches.length > 0) this.operations.registerTrace(this);
  }

  async read(sql: Parameters<TraceReader['read']>[0], gid: string): Promise<TracedRow[]> {
    const rows = await sql.query<TableRow[]>(
      `SELECT id, gtrid, branches, state, created_at FROM ${XA.name} WHERE gid = ? ORDER BY id LIMIT ${TRANSACTIONS_MAX}`,
      [gid],
    );
    const all = await Promise.all(
      rows.flatMap((row) =>
        this.managers.branches
          .filter(({ name }) => consumersIn(row.branches).includes(name))
          .map(async (manager) => branchRow(row, gid, manager.name, await stateOf(manager, row))),
      ),
    );
    return all;
  }
}

/** A server that does not answer leaves the state unknown, with the reason. */
async function stateOf(manager: ResourceManager, { gtrid, state }: TableRow): Promise<BranchState> {
  try {
    return await manager.ask(async (query) => {
      const [witness] = await query('SELECT who, created_at FROM dtx_xa_witness WHERE gtrid = ? AND branch = ?', [
        String(gtrid),
        manager.name,
      ]);
      if (witness) {
        const isOfBranch = witness.who === 'branch';
        return { state: isOfBranch ? 'COMMITTED' : 'ROLLED_BACK', at: isoTime(witness.created_at), error: null };
      }
      // The list of a server is asked for only while the transaction is open.
      const isOpen = XA.openStates.includes(state);
      const isPrepared =
        isOpen && (await manager.list(query)).some((xid) => xid.gtrid === gtrid && xid.branch === manager.name);
      return { state: isPrepared ? 'PREPARED' : 'NO_TRACE', at: null, error: null };
    });
  } catch (error) {
    return { state: 'UNKNOWN', at: null, error: textOf(error) };
  }
}

function branchRow(row: TableRow, gid: string, branch: string, { state, at, error }: BranchState): TracedRow {
  const createdAt = isoTime(row.created_at)!;
  return {
    source: 'dtx_xa_witness',
    id: `${row.id}.${branch}`,
    gid,
    scheme: SCHEME,
    what: `branch ${branch}`,
    state,
    attempts: 0,
    nextAttemptAt: null,
    lastError: error,
    createdAt,
    timeline: at === null ? [] : [{ at, event: `witness of ${branch}: ${state}` }],
    details: { branch },
    message: null,
  };
}
