import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_deadlock', { audited: false });
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('a deadlock between two Tries is retried, and both succeed', async () => {
  await sql(sandbox, 'payment', 'CREATE TABLE shelf (id INT PRIMARY KEY, n INT NOT NULL)');
  await sql(sandbox, 'payment', 'INSERT INTO shelf VALUES (1, 0), (2, 0)');
  let runs = 0;
  const held = new Set<number>();
  let meet: () => void = () => {};
  const met = new Promise<void>((resolve) => (meet = resolve));
  const contract = library.decorators.defineParticipant({
    name: 'payment.cross',
    version: 1,
    args: z.object({ ids: z.array(z.int()) }),
  });
  const type = participantOf(library, contract, {
    try: async (tx, { ids }) => {
      runs++;
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[0]]);
      // Not before the lock is held: otherwise one of them may get both while the other has none.
      held.add(ids[0]);
      if (held.size === 2) meet();
      await met; // each holds the row that the other one needs
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[1]]);
    },
  });
  const app = await LittleApp.start({ sandbox, library, providers: [type] });
  running.push(app);
  const run = (ids: number[]) => app.tcc.run({ timeoutMs: 20_000 }, (t) => t.call(contract, { ids }));
  const outcomes = await Promise.all([run([1, 2]), run([2, 1])]);
  expect(outcomes.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED']);
  expect(runs).toBeGreaterThan(2); // one was the victim
  expect(await sql(sandbox, 'payment', 'SELECT n FROM shelf')).toEqual([{ n: 2 }, { n: 2 }]);
});
