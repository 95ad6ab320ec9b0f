import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { SqlProxy } from '../../tools/src/commands/bench/sql-packets.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const PRODUCERS = 16;
const EACH = 50;
const contract = (name: string, inOrderOf?: { stream: string; key: (message: { gid: string }) => string }) =>
  library.defineMessage({
    name: `test.${name}`,
    version: 1,
    schema: z.object({ gid: z.string() }),
    consumers: [`payment.${name}`],
    gid: ({ gid }) => gid,
    ...(inOrderOf && { inOrderOf }),
  });
const plain = contract('relay-cost-plain');
const ordered = contract('relay-cost-ordered', { stream: 'relay-cost', key: ({ gid }) => gid });
const handle = async () => {};
let sandbox: Sandbox;
let proxy: SqlProxy;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('order_cost_of_relay', { audited: false });
  proxy = await SqlProxy.start(sandbox.databases.payment);
  service = await LittleService.start({
    sandbox,
    library,
    url: proxy.url,
    controllers: [
      controllerOf([
        [library.OnMessage(plain), handle],
        [library.OnMessage(ordered), handle],
      ]),
    ],
  });
});

afterAll(async () => {
  await service?.close();
  await proxy?.close();
});

/** Round trips to the database for each message, from the begin of its transaction until it is DONE. */
async function perMessage(message: typeof plain, table: string): Promise<number> {
  const before = new Map(proxy.shapes);
  const produce = async (producer: number) => {
    for (let n = 0; n < EACH; n++)
      await service.source.transaction((tx) =>
        service.get(library.LocalMessages).append(tx, message, { gid: `${producer}-${n}` }),
      );
  };
  await Promise.all(Array.from({ length: PRODUCERS }, (_, producer) => produce(producer)));
  await until('all are DONE', async () => {
    const done = `SELECT COUNT(*) AS n FROM ${table} WHERE state = 'DONE'`;
    return Number((await sql<{ n: number }>(sandbox, 'payment', done))[0]!.n) === PRODUCERS * EACH;
  });
  for (const [shape, count] of proxy.shapes) {
    const more = (count - (before.get(shape) ?? 0)) / (PRODUCERS * EACH);
    if (process.env.DTX_SHAPES && more > 0.02) console.log(more.toFixed(3), shape.slice(0, 150));
  }
  return (proxy.commands - [...before.values()].reduce((sum, n) => sum + n, 0)) / (PRODUCERS * EACH);
}

test('under load the looks at heads cost less than one round trip for each message, and a key one statement', async () => {
  const without = await perMessage(plain, 'dtx_outbox');
  const withKey = await perMessage(ordered, 'dtx_keyed');
  console.log(`round trips per message: ${without} without a key, ${withKey} with one`);
  expect(withKey).toBeLessThan(without + 2);
});
