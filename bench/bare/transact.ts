// A local transaction with mysql2 alone, in the two packets of the library.
import type { Pool, ResultSetHeader, RowDataPacket } from 'mysql2/promise';

export interface Statement {
  readonly sql: string;
  readonly values: unknown[];
  /** Of a SELECT: the row that must be among those that it returns. */
  readonly finds?: (row: RowDataPacket) => boolean;
}

/** Ends the packet before COMMIT unless the statement before it has changed one row, as `changesOneRow` of the library does. */
const CHECK = 'SET @changed_one = ~0 + (ROW_COUNT() <> 1)';

/** A statement that must change one row, with its check. */
export const changesOneRow = (sql: string) => `${sql}; ${CHECK}`;

/** `first` travels with the begin, and `last` with COMMIT. */
export async function transact(pool: Pool, first: readonly Statement[], last: readonly Statement[]): Promise<void> {
  const connection = await pool.getConnection();
  const [begun] = await connection.query(
    `START TRANSACTION; ${first.map(({ sql }) => sql).join('; ')}`,
    first.flatMap(({ values }) => values),
  );
  mustPass(first, (begun as Answer[]).slice(1));
  await connection.query(
    `${last.map(({ sql }) => sql).join('; ')}; COMMIT`,
    last.flatMap(({ values }) => values),
  );
  connection.release();
}

type Answer = ResultSetHeader | RowDataPacket[];

/** @throws Error if a statement has changed or found nothing. The shop has everything, so the measurement is none. */
function mustPass(statements: readonly Statement[], answers: readonly Answer[]): void {
  const passes = (answer: Answer, n: number) =>
    Array.isArray(answer) ? answer.some((row) => statements[n]?.finds?.(row)) : answer.affectedRows > 0;
  if (!answers.every(passes)) throw new Error('by hand: a statement has changed or found nothing');
}
