import { afterEach, expect, test } from 'vitest';
import { AllSchemes } from '../fixtures/all-scheme-callers.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { ReplicatedShop } from '../fixtures/replicated-shop.js';
import { type AppName, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { BRANCHES, decisions, expectNothingLeft, preparedOf } from '../xa/branches-and-decisions.js';
import { buy } from '../xa/xa-purchase.js';

/** Purchases of each scheme before and after the loss of the primary, and of the tail that an asynchronous replica lacks. */
const PURCHASES = 15;
const TAIL = 3;
const BODY = { buyerId: 'buyer-1', sku: 'item-0001', quantity: 1 };

const ends: Array<() => Promise<unknown>> = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** The three apps, one of them on a replicated pair. */
async function start(name: string, app: AppName, how?: { isSemiSync: boolean }): Promise<[ReplicatedShop, Stack]> {
  const replicated = await ReplicatedShop.start(name, app, how);
  ends.push(() => replicated.stop());
  const shop = new Stack(replicated.sandbox);
  ends.push(() => shop.stop());
  await shop.start();
  await openShop(shop);
  return [replicated, shop];
}

/** An operator confirms that the decision log has moved. Until then XA answers 503, since it may be an old copy. */
async function confirmMove(shop: Stack): Promise<void> {
  await until('the move of the decision log is confirmed', async () => {
    const body = { outcome: 'done', note: 'failed over' };
    return (await shop.send('order', 'POST', '/dtx/transactions/log.moved/resolve', body)).status === 200;
  });
}

async function untilWell(shop: Stack): Promise<void> {
  for (const instance of shop.instances) if (!instance.exited) await shop.untilReady(instance);
}

test('each answer under load stays true when the primary of a semi-synchronous pair is killed and its replica promoted', async () => {
  const [replicated, shop] = await start('semi_sync', 'order');
  const load = new AllSchemes(shop, { name: 'semi-sync' });
  await load.untilTold(PURCHASES);
  const ms = await replicated.failOver();
  await confirmMove(shop);
  await load.untilTold(PURCHASES);
  await load.stop();
  await untilWell(shop);
  await untilSettled(shop);
  console.log(JSON.stringify({ told: load.told, withoutPrimaryMs: ms, answers: load.answers }));
  expect(await load.falseAnswers(shop.sandbox)).toEqual([]);
  await expectAuditClean(shop);
}, 240_000);

test('an asynchronous replica that is behind loses answered purchases', async () => {
  const [replicated, shop] = await start('async_pair', 'order', { isSemiSync: false });
  const load = new AllSchemes(shop, { name: 'async' });
  await load.untilTold(PURCHASES);
  await replicated.pair.holdReplication();
  await load.untilTold(TAIL);
  await replicated.failOver();
  await confirmMove(shop);
  await load.untilTold(PURCHASES);
  await load.stop();
  await untilWell(shop);
  const lost = await load.falseAnswers(shop.sandbox);
  console.log(JSON.stringify({ told: load.told, lost: lost.length }));
  expect(lost.length).toBeGreaterThanOrEqual(TAIL);
}, 240_000);

test.each(['payment', 'order'] as const)(
  'a decided XA purchase is carried out after the semi-synchronous pair of the %s database has failed over',
  async (app) => {
    const [replicated, shop] = await start(`xa_pair_${app}`, app);
    const { sandbox } = shop;
    await shop.of('order').stop();
    const [dying] = await shop.start(['order'], { failpoints: 'xa.decided=crash' });
    await buy(dying!.url, 'decided', BODY).catch(() => null);
    await dying!.untilExited();
    expect((await preparedOf(sandbox)).map((one) => one.app)).toEqual(BRANCHES);
    await replicated.failOver();
    // The replica has what the primary had: the prepared branch of payment, or the decision of order.
    expect((await preparedOf(sandbox)).map((one) => one.app)).toEqual(BRANCHES);
    const [recovering] = await shop.start(['order']);
    if (app === 'order') await confirmMove(shop);
    await expectNothingLeft(sandbox);
    const decided = (await decisions(sandbox)).filter(({ decision }) => decision !== null);
    expect(decided).toMatchObject([{ decision: 'COMMIT', state: 'DONE' }]);
    expect(await sql(sandbox, 'payment', 'SELECT status FROM payment')).toEqual([{ status: 'CAPTURED' }]);
    expect((await buy(recovering!.url, 'decided', BODY)).status).toBe(201);
    await expectAuditClean(shop);
  },
  240_000,
);
