import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { receiptQueueOf } from '../../../libs/dtx/src/core/broker/message-contract.js';
import { brokerCounts } from '../../fixtures/broker-delivery-counts.js';
import { sentMessages, TestPublisher } from '../../fixtures/outbox-message-copies.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../../fixtures/purchase-checks.js';
import { Load, openShop } from '../../fixtures/purchase-load.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { APPS, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const PURCHASES = 200;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_duplicates');
  // A lost receipt heals by a resend, which by default comes after a minute.
  const options = { localMessage: { resend: { firstMs: 2_000, factor: 2, capMs: 8_000 } } };
  shop = new Stack(sandbox, { options, failpoints: 'local-message.claimed=delay(1)' }); // to count the resends
  await Promise.all([shop.start(), shop.start()]); // two instances: copies of one message meet in two processes
  await openShop(shop);
});

afterAll(() => shop?.stop());

const startLoad = (name: string) =>
  new Load({ name, urls: () => [shop.of('order').url], callers: 8, total: PURCHASES });

async function countAll(query: string): Promise<number> {
  const counts = await Promise.all(
    APPS.map(async (app) =>
      Number((await sql<{ n: number }>(sandbox, app, `SELECT COUNT(*) AS n FROM ${query}`))[0]!.n),
    ),
  );
  return counts.reduce((sum, n) => sum + n, 0);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Publishes each message again as soon as its row can be seen, so that the copy races with the original. */
function repeatAlong(publisher: TestPublisher) {
  const seen = new Set<string>();
  let running = true;
  const ended = (async () => {
    while (running) {
      const fresh = (await sentMessages(sandbox, { lastSeconds: 20 })).filter(({ id }) => !seen.has(id));
      for (const message of shuffled(fresh)) {
        seen.add(message.id);
        await publisher.repeat(message);
      }
    }
  })();
  return {
    seen,
    async stop() {
      running = false;
      await ended;
    },
  };
}

test('each delivery has one effect if it arrives twice or more, shuffled and late', async () => {
  const publisher = await TestPublisher.open(sandbox);
  const repeater = repeatAlong(publisher);
  const load = startLoad('twice');
  await load.ended();
  await untilSettled(shop);
  await repeater.stop();
  expect(repeater.seen.size).toBeGreaterThan(PURCHASES);

  const messages = await sentMessages(sandbox);
  for (const message of shuffled(messages)) await publisher.repeat(message);
  for (const message of shuffled(messages)) await publisher.repeat(message);
  await publisher.close();

  await expectAuditClean(shop);
  const ended = await expectToldTruth(shop, load);
  expect(ended.CONFIRMED).toBe(PURCHASES * 0.9);
  const handled = await countAll(`dtx_inbox WHERE state = 'HANDLED'`);
  expect(publisher.published).toBeGreaterThanOrEqual(3 * handled * 0.9);
  // Receipts are messages as well, but gathered: the copies alone must have been delivered and acked.
  const counts = await until('the broker has counted the copies', async () => {
    const now = await brokerCounts(sandbox);
    return now.acked >= handled + publisher.published && now;
  });
  expect(await countAll('dtx_inbox WHERE attempts > 0')).toBe(0);
  console.log(`${handled} effects, ${publisher.published} copies, ${JSON.stringify(counts)}`);
}, 120_000);

/** Takes receipts away from those whom they are for: they are acked and gone, as if they had never been sent. */
async function stealReceipts() {
  const connection = await connect(sandbox.rabbitmq);
  const channel = await connection.createChannel();
  const thief = { stolen: 0, stop: () => connection.close() };
  const take = (message: { content: Buffer } | null) => {
    if (message) thief.stolen += JSON.parse(message.content.toString()).receipts.length;
  };
  for (const app of APPS) await channel.consume(`${receiptQueueOf(app)}.quorum`, take, { noAck: true });
  return thief;
}

test('a sender resends after lost receipts, the duplicate is receipted, and nothing happens twice', async () => {
  const thief = await stealReceipts();
  const load = startLoad('stolen');
  const resends = () => shop.instances.flatMap((instance) => instance.hits()).length;
  const before = resends();
  await until('many receipts are stolen', () => thief.stolen > PURCHASES / 4);
  await load.ended();
  expect(await countAll(`dtx_outbox WHERE state <> 'DONE'`)).toBeGreaterThan(0);
  await thief.stop();

  await untilSettled(shop);
  await expectToldTruth(shop, load);
  expect(resends() - before).toBeGreaterThan(0);
  console.log(`${thief.stolen} receipts stolen, ${resends() - before} messages sent again`);
  await expectAuditClean(shop);
}, 120_000);
