import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { EFFECTS, effectsOf, write } from './effect-table.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_stray_sql', { audited: false });
  await sql(sandbox, 'payment', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('business SQL on another connection than the barrier is refused and has no effect', async () => {
  let app: LittleApp;
  const contract = library.decorators.defineParticipant({ name: 'payment.strays', version: 1, args: z.object({}) });
  const type = participantOf(library, contract, {
    try: async (tx, _, { gid }) => {
      await write(tx, gid, 'try');
      await app.source.query('INSERT INTO effect (gid, phase) VALUES (?, ?)', [gid, 'stray']);
    },
  });
  app = await LittleApp.start({ sandbox, library, providers: [type] });
  running.push(app);
  const branch = { branch: 0, participant: contract.name, version: 1, args: {} };
  const answer = await app.calls.call(branch, { gid: 'strays', phase: 'try' }, 5_000);
  expect(answer).toMatchObject({
    verdict: 'failed',
    reason: expect.stringMatching(/another connection.*use the given tx/),
  });
  expect(await effectsOf(sandbox, 'strays')).toBe('');
});
