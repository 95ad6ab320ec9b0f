import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Balancer } from '../../tools/src/balancer/round-robin-balancer.js';
import { ADMIN_TOKEN, type AppProcess } from '../fixtures/app-process.js';
import { openBrowser, openTab } from '../fixtures/browser.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const browser = await openBrowser();
let shop: Stack;
let balancer: Balancer;
let behind: AppProcess[];
let page: Page;

/** Two instances of the order app behind one address. Instances have processes of their own, as in production. */
beforeAll(async () => {
  shop = new Stack(await freshSandbox('console_instances', { audited: false }));
  behind = await shop.start(['order', 'order']);
  balancer = await Balancer.start({ port: 0, instances: behind.map(({ url }) => url) });
});
afterAll(async () => {
  await browser?.close();
  await balancer?.stop();
  await shop?.stop();
});

const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
const buy = async ({ url }: AppProcess) => {
  const body = JSON.stringify({ buyerId: 'alice', sku: 'book', quantity: 1 });
  const { status } = await call(`${url}/orders`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body,
  });
  expect(status).toBe(202);
};
/** What one instance alone has counted. */
const begunAt = async ({ url }: AppProcess) => {
  const { body } = await call(`${url}/dtx/history`, { headers });
  const minutes = body.minutes as Array<{ schemes: Record<string, { started: number }> }>;
  return minutes.reduce((sum, { schemes }) => sum + (schemes['local-message']?.started ?? 0), 0);
};
/** The page asks again every few seconds. Its clock goes on at once, so that no test waits for that. */
const shown = (what: Locator) =>
  until(
    `the page shows ${what}`,
    async () => {
      await page.clock.fastForward(10_000);
      return what.isVisible();
    },
    { everyMs: 250 },
  );
const text = (exact: string) => page.getByText(exact, { exact: true });
const chart = (begun: number) => page.getByRole('img', { name: `begun, per minute, last hour: ${begun}`, exact: true });

test.skipIf(!browser)('two instances behind one address are added up, and each one is named', async () => {
  for (const instance of [behind[0]!, behind[0]!, behind[1]!]) await buy(instance);
  ({ page } = await openTab(browser as Browser));
  await page.clock.install();
  await page.goto(`http://127.0.0.1:${balancer.port}/dtx/console`);
  await page.getByLabel('Admin token').fill(ADMIN_TOKEN);
  await page.keyboard.press('Enter');
  await shown(chart(3));
  for (const { child } of behind) await shown(page.getByText(`#${child.pid},`));
  await shown(text('Instances in the charts: 2'));
  // The control: neither of them has counted all of it.
  expect(await Promise.all(behind.map(begunAt))).toEqual([2, 1]);
});

test.skipIf(!browser)('an instance that the address does not reach is said to be missing', async () => {
  const [hidden] = await shop.start(['order']);
  await buy(hidden!);
  await shown(page.getByText('Instances in the charts: 2, running without an answer: 1.'));
  await shown(chart(3));
  await hidden!.stop();
  await shown(text('Instances in the charts: 2'));
});

test.skipIf(!browser)('the charts keep the counts of an ended instance', async () => {
  await behind[1]!.kill();
  await until('the other one has counted more', async () => {
    await buy(behind[0]!);
    return (await begunAt(behind[0]!)) === 3;
  });
  await shown(text('Instances in the charts: 1, ended: 1'));
  await shown(chart(4));
  expect(await page.getByText(`#${behind[1]!.child.pid},`).count()).toBe(0);
});
