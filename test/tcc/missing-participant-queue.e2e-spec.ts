import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, type LittleOptions, libraryOf } from './little-app.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_missing_queue', { audited: false });
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(options: Partial<LittleOptions>): Promise<LittleApp> {
  const app = await LittleApp.start({ sandbox, library, ...options });
  running.push(app);
  return app;
}

async function rowOf(gid: string): Promise<{ claim_token: string | null }> {
  const query = 'SELECT claim_token FROM dtx_tcc WHERE id = ?';
  return (await sql<{ claim_token: string | null }>(sandbox, 'payment', query, [gid]))[0]!;
}

test('a participant whose queue does not exist is refused before its time limit, and no queue is created for it', async () => {
  const probe = await QueueProbe.open(sandbox);
  const contract = library.decorators.defineParticipant({ name: 'inventory.misspelt', version: 1, args: z.object({}) });
  const app = await start({ participates: { timeoutMs: 600_000, secondPhaseWaitMs: 5_000 } });
  // Its Try would have ten minutes.
  const outcome = await app.tcc.run({ gid: 'misspelt' }, (t) => t.call(contract, {}));
  expect(outcome).toMatchObject({ status: 'CANCELLED', waitingFor: ['inventory.misspelt'] });
  for (let round = 0; round < 3; round++) {
    const { claim_token: last } = await rowOf('misspelt');
    await sql(sandbox, 'payment', `UPDATE dtx_tcc SET next_attempt_at = UTC_TIMESTAMP(3) WHERE id = 'misspelt'`);
    await until('the scan has taken it', async () => (await rowOf('misspelt')).claim_token !== last);
  }
  for (const queue of ['dtx.inventory.tcc-misspelt.v1', 'dtx.inventory.tcc-misspelt.second.v1'])
    expect(await probe.exists(queue)).toBe(false);
  await probe.close();
});
