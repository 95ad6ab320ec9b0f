import type { EntityManager } from 'typeorm';

/** The current time by the database clock, in milliseconds. All instances share this clock. */
export async function databaseNow(tx: EntityManager): Promise<Date> {
  const rows: { now: Date }[] = await tx.query('SELECT UTC_TIMESTAMP(3) AS now');
  return rows[0].now;
}
