import { randomUUID } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { library, type Methods, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

/** Steps are not isolated. Given money may be spent before its Undo, so a saga takes first and gives last. */
const apps = useSagaApps('saga_giving');
const WAIT_MS = 60_000;
const args = z.object({});
const made = () => ({});
const debit = saga.defineStep({ name: 'payment.debit', version: 1, args });
const credit = saga.defineStep({ name: 'inventory.credit', version: 1, args });
const [givesFirst, takesFirst] = [
  [credit, debit],
  [debit, credit],
].map((steps, index) =>
  saga.defineSaga({
    name: 'order.transfer',
    version: index + 1,
    input: args,
    deadlineMs: 120_000,
    steps: ({ compensable }) => steps.map((step) => compensable(step, made)),
  }),
);
const OPTIONS = { attemptsMax: 2 };

beforeAll(async () => {
  await sql(apps.sandbox, 'inventory', 'CREATE TABLE purse (gid VARCHAR(64) PRIMARY KEY, money INT NOT NULL)');
});

/** The receiver spends what it gets before the debit is refused. */
const refuseLate: Methods = {
  do: async (_, __, { gid }) => {
    await sql(apps.sandbox, 'inventory', 'UPDATE purse SET money = 0 WHERE gid = ?', [gid]);
    throw new library.Rejected('NO_FUNDS');
  },
};
const give: Methods = {
  do: (tx, _, { gid }) => tx.query('INSERT INTO purse (gid, money) VALUES (?, 10)', [gid]),
  undo: async (tx, _, { gid }) => {
    const { affectedRows } = await tx.query('UPDATE purse SET money = money - 10 WHERE gid = ? AND money >= 10', [gid]);
    if (affectedRows !== 1) throw new Error('the money is spent');
  },
};

it.each([
  ['takes first and is refused has given nothing', takesFirst!, 'COMPENSATED', []],
  ['gives first cannot take back spent money, and is parked', givesFirst!, 'PARKED', [{ money: 0 }]],
] as const)('a saga that %s', async (_, transfer, state, purse) => {
  await apps.start({ app: 'inventory', steps: [[credit, give]], options: OPTIONS });
  await apps.start({ app: 'payment', steps: [[debit, refuseLate]], options: OPTIONS });
  const order = await apps.start({ sagas: [transfer], options: OPTIONS });
  const gid = await order.begin(transfer, {}, randomUUID());
  await order.sagas.outcome(gid, WAIT_MS);
  await apps.untilIs(gid, state);
  expect(await sql(apps.sandbox, 'inventory', 'SELECT money FROM purse WHERE gid = ?', [gid])).toEqual(purse);
});
