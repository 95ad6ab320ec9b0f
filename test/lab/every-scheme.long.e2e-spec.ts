import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser, openTab } from '../fixtures/browser.js';
import { LAB_TOKEN, LabStand } from '../fixtures/lab-stand.js';
import { sql } from '../fixtures/sandbox.js';

const browser = await openBrowser();
let stand: LabStand;
let page: Page;

beforeAll(async () => {
  stand = await LabStand.start('lab_schemes');
  if (!browser) return;
  ({ page } = await openTab(browser as Browser));
  await page.goto(stand.lab.url);
  await page.getByLabel('Lab token').fill(LAB_TOKEN);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Break' }).click();
});
afterAll(async () => {
  await browser?.close();
  await stand?.stop();
});

const crashed = [
  'local-message.committed',
  'xa.decided',
  'tcc.decided',
  'saga.pivot-marked',
  'half-message.committed',
  'notify.recorded',
  'reliable-message.worked',
];
const others = [
  'xa.prepared-all',
  'tcc.tried',
  'saga.step-answered',
  'half-message.committed',
  'notify.called',
  'local-message.handled',
];

/** Chooses the point in its diagram and clicks the button. */
async function breakAt(point: string, button: string): Promise<void> {
  await page.getByRole('button', { name: point.split('.')[0], exact: true }).click();
  await page.getByRole('button', { name: `Crash point ${point}` }).click();
  await page.getByRole('button', { name: button }).click();
}

/** Waits for the end of the break that began just now. Returns what its record ends with. */
async function untilHealed(subject: string): Promise<void> {
  await page.getByRole('status').getByText(`${subject} done`).waitFor({ timeout: 170_000 });
  await page.getByText('healed', { exact: true }).waitFor();
}

test.skipIf(!browser).each(crashed)(
  'a crash at %s by a click heals, and the lanes show the dead process and the next one',
  async (point) => {
    await breakAt(point, 'Crash here');
    await untilHealed(`crash ${point}`);
    const steps = page.locator('.steps');
    await steps.getByText(`crash at ${point}`).waitFor();
    await steps.getByText('died (SIGKILL)').first().waitFor();
  },
  180_000,
);

test.skipIf(!browser)(
  'a pause by a click brings a second instance, which takes over',
  async () => {
    await breakAt('half-message.committed', 'Pause here');
    await page.getByText('inventory: stopped').waitFor();
    await untilHealed('pause half-message.committed');
    await page.locator('.steps').getByText('second instance takes over').waitFor();
    await page.getByText('inventory: runs').waitFor();
  },
  180_000,
);

test.skipIf(!browser).each(others)(
  'an error at %s by a click heals, and no process dies',
  async (point) => {
    const before = stand.supervisor.processes.map(({ name }) => name);
    await breakAt(point, 'Error here');
    await untilHealed(`error ${point}`);
    await page.locator('.steps').getByText(`error at ${point}`).waitFor();
    expect(await page.locator('.steps').getByText('died (SIGKILL)').count()).toBe(0);
    expect(stand.supervisor.processes.map(({ name }) => name)).toEqual(before);
  },
  180_000,
);

test.skipIf(!browser)(
  'the audit holds after all this, and finds lost money',
  async () => {
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByRole('button', { name: 'Run the audit' }).click();
    await page.getByText('All checks hold.').waitFor({ timeout: 60_000 });
    // The control: money that no purchase has taken.
    const take = (cents: number) =>
      sql(stand.sandbox, 'payment', "UPDATE account SET balance = balance - ? WHERE buyer_id = 'alice'", [cents]);
    await take(1);
    await page.getByRole('button', { name: 'Run the audit' }).click();
    await page.getByText('A check is broken.').waitFor({ timeout: 60_000 });
    await page.getByRole('row').filter({ hasText: 'money' }).getByText('BROKEN').waitFor();
    await take(-1);
  },
  180_000,
);
