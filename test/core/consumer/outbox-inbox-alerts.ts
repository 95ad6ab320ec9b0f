/** How far a message is: its outbox row, its inbox row and its alerts. */
import { type AppName, type Sandbox, sql } from '../../fixtures/sandbox.js';

export const alertsOf = (sandbox: Sandbox, gid: string) =>
  sql<{ alert_error: string; closed_at: Date | null }>(
    sandbox,
    'payment',
    'SELECT alert_error, closed_at FROM dtx_alert WHERE gid = ?',
    [gid],
  );

export const messageStateOf = async (sandbox: Sandbox, gid: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox WHERE gid = ?', [gid]))[0]?.state;

export const inboxStateOf = async (sandbox: Sandbox, gid: string, app: AppName = 'payment') =>
  (await sql<{ state: string }>(sandbox, app, 'SELECT state FROM dtx_inbox WHERE gid = ?', [gid]))[0]?.state;
