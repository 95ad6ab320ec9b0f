// dtx_saga_step: written only when something failed. A missing row says nothing about its step: recovery asks the app of
// the step again, and its barrier answers. If the process dies before a record is written, the step is called again.
import { Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';

/** The end of one call of a round that has failed as a whole. `error`: null if this call has succeeded. */
export interface RecordedCall {
  readonly step: string;
  readonly error: string | null;
  /** Whether the failure counts as an attempt. */
  readonly isCounted: boolean;
}

type Way = 'done' | 'undone';

/** Keeps which steps of a failing saga are settled, and the last error of the others. */
@Injectable()
export class StepRecords {
  constructor(private readonly database: Database) {}

  /** The names of steps that are settled on this way. */
  async settled(gid: string, way: Way): Promise<ReadonlySet<string>> {
    const rows: Array<{ step: string }> = await this.database.own.query(
      `SELECT step FROM dtx_saga_step WHERE gid = ? AND ${way}_at IS NOT NULL`,
      [gid],
    );
    return new Set(rows.map(({ step }) => step));
  }

  /** Records a round with a failure. A process that has lost its claim takes back nothing that is settled. */
  async record(gid: string, way: Way, calls: readonly RecordedCall[]): Promise<void> {
    const count = way === 'done' ? 'attempts' : 'undo_attempts';
    for (const { step, error, isCounted } of calls)
      await this.database.own.query(
        `INSERT INTO dtx_saga_step (gid, step, ${way}_at, ${count}, last_error)
         VALUES (?, ?, ${error === null ? 'UTC_TIMESTAMP(3)' : 'NULL'}, ?, ?)
         ON DUPLICATE KEY UPDATE ${way}_at = COALESCE(${way}_at, VALUES(${way}_at)), ${count} = ${count} + VALUES(${count}), last_error = VALUES(last_error)`,
        [gid, step, isCounted ? 1 : 0, error],
      );
  }

  /** An operator has settled the steps that failed on this way. Returns their names. */
  async settleFailed(sql: Sql, gid: string, way: Way): Promise<string[]> {
    const rows: Array<{ step: string }> = await sql.query(
      `SELECT step FROM dtx_saga_step WHERE gid = ? AND ${way}_at IS NULL AND ${way === 'done' ? 'attempts' : 'undo_attempts'} > 0 FOR UPDATE`,
      [gid],
    );
    const names = rows.map(({ step }) => step);
    if (names.length > 0)
      await sql.query(`UPDATE dtx_saga_step SET ${way}_at = UTC_TIMESTAMP(3) WHERE gid = ? AND step IN (?)`, [
        gid,
        names,
      ]);
    return names;
  }
}
