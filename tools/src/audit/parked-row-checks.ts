// Invariant of parked rows once the system is quiet.
import { tableNames } from 'nest-dtx/testing';
import type { AuditContext, Check } from './check-types.js';

/** Each parked row has exactly one open alert. */
export async function checkParked({ databases, parked }: AuditContext): ReturnType<Check> {
  const apps = databases.apps.filter((app) => databases.has(app, tableNames.alert));
  if (apps.length === 0) return null;
  const violations: string[] = [];
  const figures = { parked: parked.length, openAlerts: 0 };
  for (const app of apps) {
    const rows = await databases.query<{ id: string; number: bigint }>(
      app,
      `SELECT subject_id AS id, COUNT(*) AS number FROM ${tableNames.alert} WHERE closed_at IS NULL GROUP BY subject_id`,
    );
    const alerts = new Map(rows.map(({ id, number }) => [id, Number(number)]));
    figures.openAlerts += [...alerts.values()].reduce((total, number) => total + number, 0);
    for (const row of parked.filter((one) => one.app === app)) {
      const number = alerts.get(row.id) ?? 0;
      if (number !== 1) violations.push(`${app}.${row.table} ${row.id} is PARKED with ${number} open alerts`);
    }
  }
  return { figures, violations };
}
