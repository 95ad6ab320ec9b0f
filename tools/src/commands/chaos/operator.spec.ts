import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { HANDLER_FAULT, Operator } from './operator.js';

interface Row {
  readonly id: string;
  state: string;
  readonly lastError: string | null;
}

/** An app with these rows. A retry of a parked row succeeds. */
async function appWith(rows: Row[]) {
  const calls: string[] = [];
  const server = createServer((request, response) => {
    const [, id, action] = /transactions\/(\w+)\/(\w+)/.exec(request.url!) ?? [];
    const wanted = /state=PARKED/.test(request.url!) ? ['PARKED'] : ['PARKED', 'PENDING'];
    const row = rows.find((one) => one.id === id);
    if (request.headers.authorization !== 'Bearer secret') response.statusCode = 401;
    else if (row) {
      calls.push(`${action} ${id}`);
      row.state = 'DONE';
    }
    response.end(JSON.stringify({ items: rows.filter(({ state }) => wanted.includes(state)) }));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => void server.close());
  return { calls, operator: new Operator(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'secret') };
}

const parked = (id: string, lastError: string): Row => ({ id, state: 'PARKED', lastError });
const many = (lastError: string) => Array.from({ length: 40 }, (_, n) => parked(`m${n}`, lastError));

test('rows of the failing handler are retried or rejected until none is left', async () => {
  const { calls, operator } = await appWith(many(`handler failed: ${HANDLER_FAULT}`));
  await operator.settleFailedHandlers();
  expect(calls).toHaveLength(40);
  expect(operator.counts.retried + operator.counts.rejected).toBe(40);
  expect(Math.min(operator.counts.retried, operator.counts.rejected)).toBeGreaterThan(0);
});

test('a row that is parked for another reason is left to the judge, also beside rows of the failing handler', async () => {
  const { calls, operator } = await appWith([parked('other', 'no route'), parked('ours', HANDLER_FAULT)]);
  await operator.settleFailedHandlers();
  expect(calls).toHaveLength(1);
  expect(calls[0]).toMatch(/ours$/);
});

test('during the run other rows are retried, and never rejected', async () => {
  const { calls, operator } = await appWith([...many('no route'), { id: 'open', state: 'PENDING', lastError: null }]);
  for (let n = 0; n < 10; n++) await operator.actAtRandom();
  expect(calls.length).toBeGreaterThan(40);
  expect(calls.filter((one) => !one.startsWith('retry'))).toEqual([]);
});
