// A local transaction of a call with mysql2 alone, in the packets of the library without `changesOneRow`.
import type { Pool, ResultSetHeader, RowDataPacket } from 'mysql2/promise';

export interface Statement {
  readonly sql: string;
  readonly values: unknown[];
  /** Of a SELECT: the row that must be among those that it returns. */
  readonly finds?: (row: RowDataPacket) => boolean;
}

/** The business of one call. With `isDeferred` its result is not needed, so it travels with COMMIT. */
export type Business = Statement & { readonly isDeferred?: true };

/** `first` travels with the begin. The user awaits the business statement. */
export async function transact(pool: Pool, first: readonly Statement[], business: Business): Promise<void> {
  const connection = await pool.getConnection();
  const [begun] = await connection.query(
    `START TRANSACTION; ${first.map(({ sql }) => sql).join('; ')}`,
    first.flatMap(({ values }) => values),
  );
  mustPass(first, (begun as Answer[]).slice(1));
  const { sql, values, isDeferred } = business;
  if (isDeferred) await connection.query(`${sql}; COMMIT`, values);
  else {
    const [done] = await connection.query(sql, values);
    mustPass([], [done].flat() as Answer[]);
    await connection.query('COMMIT');
  }
  connection.release();
}

type Answer = ResultSetHeader | RowDataPacket[];

/** @throws Error if a statement has changed or found nothing. The shop has everything, so the measurement is none. */
function mustPass(statements: readonly Statement[], answers: readonly Answer[]): void {
  const passes = (answer: Answer, n: number) =>
    Array.isArray(answer) ? answer.some((row) => statements[n]?.finds?.(row)) : answer.affectedRows > 0;
  if (!answers.every(passes)) throw new Error('by hand: a statement has changed or found nothing');
}
