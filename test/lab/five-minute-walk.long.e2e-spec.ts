import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { openBrowser, openTab } from '../fixtures/browser.js';
import { LAB_TOKEN, LabStand } from '../fixtures/lab-stand.js';
import { LabWalk } from '../fixtures/lab-walk.js';

const FIVE_MINUTES_MS = 300_000;
const browser = await openBrowser();
/** `DTX_LAB` and `DTX_LAB_TOKEN`: the walk through a lab that runs already, such as that of `npm run demo`. */
const { DTX_LAB, DTX_LAB_TOKEN, DTX_SCREENSHOTS, DTX_COLORS } = process.env;
let stand: LabStand | undefined;

beforeAll(async () => {
  if (!DTX_LAB) stand = await LabStand.start('lab_walk');
});
afterAll(async () => {
  await browser?.close();
  await stand?.stop();
});

// `DTX_SCREENSHOTS=docs/console` takes the pictures of the documentation, and `DTX_COLORS=dark` dark ones to look at.
test.skipIf(!browser)(
  'a new user sees a purchase of each scheme, a crash that heals and a parked row settled within five minutes',
  async () => {
    const { page, faults } = await openTab(browser as Browser, {
      colorScheme: DTX_COLORS === 'dark' ? 'dark' : 'light',
    });
    const walk = new LabWalk(page, DTX_SCREENSHOTS);
    const since = performance.now();
    await walk.signIn(DTX_LAB ?? stand!.lab.url, DTX_LAB_TOKEN ?? LAB_TOKEN);
    expect((await walk.buyOfEachScheme()).length).toBeGreaterThanOrEqual(4);
    await walk.crashAndHeal('local-message.committed');
    await walk.parkAndSettle();
    const tookMs = performance.now() - since;
    console.log(`the walk took ${Math.round(tookMs / 1_000)} s`);
    expect(tookMs).toBeLessThan(FIVE_MINUTES_MS);
    await page.goto(`${page.url().split('#')[0]}#/buy`);
    await walk.compare();
    await walk.scenario();
    await walk.audit();
    if (stand) await walk.console(`${stand.supervisor.urls.order}/dtx/console`, ADMIN_TOKEN);
    expect(faults).toEqual([]);
  },
  600_000,
);
