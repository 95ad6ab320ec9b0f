// A message that no consumer can read. Its row is parked, and an operator settles it on the page of alerts.
import { tableNames } from 'nest-dtx/testing';
import { until } from '../../cli/waits-and-progress.js';
import { openDatabases } from '../../sandbox/database-reader.js';
import { sendUnreadable } from '../break/stimulus.js';
import type { Job } from './job-runner.js';
import type { LabTarget } from './target.js';

const BOUND_MS = 30_000;

export async function park({ sandbox }: LabTarget, job: Job): Promise<{ id: string }> {
  const databases = await openDatabases(sandbox);
  try {
    const stimulus = await sendUnreadable(sandbox as Parameters<typeof sendUnreadable>[0], 'local-message');
    job.say(stimulus.what);
    const gid = await stimulus.findGid(databases);
    if (gid !== null) job.found(gid);
    const sql = `SELECT 1 FROM ${tableNames.inbox} WHERE id = ? AND state = 'PARKED'`;
    const isParked = async () => (await databases.query('inventory', sql, [stimulus.parkedId])).length > 0;
    if (!(await until(isParked, { boundMs: BOUND_MS })))
      throw new Error(`the message was not parked within ${BOUND_MS / 1_000} s; see the transactions of inventory`);
    job.say('its row is PARKED with one alert: an operator decides');
    return { id: stimulus.parkedId ?? '' };
  } finally {
    await databases.close();
  }
}
