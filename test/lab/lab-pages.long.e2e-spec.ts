import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessibilityFaults, openBrowser, openTab } from '../fixtures/browser.js';
import { LabCommand } from '../fixtures/lab-command.js';
import { LAB_TOKEN, LabStand } from '../fixtures/lab-stand.js';
import { sql } from '../fixtures/sandbox.js';

const SCHEMES = ['local-message', 'xa', 'tcc', 'saga', 'half-message'];
/** Pixels by which the page is wider than its window. */
const OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
const browser = await openBrowser();
let stand: LabStand;

beforeAll(async () => {
  stand = await LabStand.start('lab_pages');
});
afterAll(async () => {
  await browser?.close();
  await stand?.stop();
});

async function signedIn(options: BrowserContextOptions = {}, url = stand.lab.url) {
  const tab = await openTab(browser as Browser, options);
  await tab.page.goto(url);
  await signInTo(tab.page);
  return tab;
}

async function signInTo(page: Page): Promise<void> {
  await page.locator('input[name=token]').fill(LAB_TOKEN);
  await page.locator('button[type=submit]').click();
  await page.locator('nav').waitFor();
}

const open = (page: Page, name: string) => page.getByRole('link', { name, exact: true }).click();
const finished = (page: Page, subject: string) =>
  page.getByRole('status').getByText(`${subject} done`).waitFor({ timeout: 100_000 });

describe.skipIf(!browser)('the lab', () => {
  test('takes its own token only, keeps it in memory, and calls no other host', async () => {
    const { page, faults, hosts } = await openTab(browser as Browser);
    await page.goto(stand.lab.url);
    await page.getByLabel('Lab token').fill('wrong');
    await page.keyboard.press('Enter');
    await page.getByText('The token is wrong.').waitFor();
    await page.getByLabel('Lab token').fill(LAB_TOKEN);
    await page.keyboard.press('Enter');
    await page.getByText('order: runs').waitFor();
    for (const name of ['Overview', 'Transactions', 'Alerts']) {
      await open(page, name);
      await page.getByRole('heading', { name, exact: true }).waitFor();
    }
    const kept = await page.evaluate<string>(
      'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])',
    );
    expect(kept).toBe('[{},{},""]');
    expect(page.url()).not.toContain(encodeURIComponent(LAB_TOKEN));
    expect([...hosts]).toEqual([new URL(stand.lab.url).host]);
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('buys through every scheme, and shows the lanes of each purchase', async () => {
    const { page, faults } = await signedIn();
    for (const scheme of SCHEMES) {
      await page.getByLabel('Scheme').selectOption(scheme);
      await page.getByRole('button', { name: 'Buy', exact: true }).click();
      await finished(page, scheme);
      await page.locator('.record').getByText('CONFIRMED after').waitFor();
      await page.locator('.steps li').nth(1).waitFor();
    }
    // The control of the test below: without a break no process dies.
    expect(await page.locator('.steps').getByText('died (SIGKILL)').count()).toBe(0);
    await page.getByLabel('Buyer').selectOption('bob');
    await page.getByRole('button', { name: 'Buy', exact: true }).click();
    await page.locator('.record').getByText('CANCELLED (INSUFFICIENT_FUNDS)').waitFor();
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('compares the schemes on the same purchase by time, commits and messages', async () => {
    const { page } = await signedIn();
    await page.getByRole('button', { name: 'Compare all schemes' }).click();
    await finished(page, '1 x book');
    const rows = await page.locator('table.comparison tbody tr').allTextContents();
    expect(rows.map((row) => SCHEMES.find((scheme) => row.startsWith(scheme)))).toEqual(SCHEMES);
    const figures = await page.locator('table.comparison td:nth-child(-n+4)').allTextContents();
    for (const [scheme, time, commits, messages] of rows.map((_, n) => figures.slice(n * 4, n * 4 + 4))) {
      expect([scheme, Number.parseInt(time!, 10) > 0, Number(commits) >= 2, Number(messages) >= 1]).toEqual([
        scheme,
        true,
        true,
        true,
      ]);
    }
    await page.context().close();
  });

  test('crashes an app at a point of the diagram by a click, and shows its death and its recovery', async () => {
    const { page, faults } = await signedIn();
    await open(page, 'Break');
    await page.getByRole('button', { name: 'Crash point local-message.committed' }).click();
    await page.getByText('Business rows').waitFor();
    await page.getByRole('button', { name: 'Crash here' }).click();
    await page.getByText('healed', { exact: true }).waitFor({ timeout: 100_000 });
    const steps = page.locator('.steps');
    await steps.getByText(/process \d+: crash at local-message.committed/).waitFor();
    await steps.getByText(/process \d+: died \(SIGKILL\)/).waitFor();
    await page.getByText('order: runs').waitFor();
    const [died] = /\d+/.exec((await steps.getByText('died (SIGKILL)').textContent())!.split('process ')[1]!)!;
    expect(stand.supervisor.processes.map(({ pid }) => String(pid))).not.toContain(died);
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('parks a row, which is found and settled under Alerts', async () => {
    const { page } = await signedIn();
    await open(page, 'Break');
    await page.getByRole('button', { name: 'Park a row' }).click();
    await page.getByRole('link', { name: 'Settle it under Alerts' }).click();
    await page.getByRole('row').filter({ hasText: 'inventory' }).getByRole('checkbox').check();
    await page.getByRole('toolbar').getByRole('button', { name: 'Close as done' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Your name').fill('alice');
    await dialog.getByLabel('Note').fill('unreadable');
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await dialog.getByText('done', { exact: true }).waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByText('Nothing here.').waitFor();
    const record = await sql(stand.sandbox, 'inventory', 'SELECT action, operator FROM dtx_operation');
    expect(record).toEqual([{ action: 'done', operator: 'alice' }]);
    await page.context().close();
  });

  test('runs the scenario with its progress', async () => {
    const { page } = await signedIn();
    await open(page, 'Scenario');
    await page.getByRole('button', { name: 'Run the scenario' }).click();
    await page.getByRole('progressbar').waitFor();
    await page.getByText('Every purchase ended as expected.').waitFor({ timeout: 90_000 });
    expect(await page.locator('tbody tr').count()).toBe(5 * SCHEMES.length + 1);
    expect(await page.getByRole('row', { name: 'CANCELLED TIMEOUT' }).count()).toBe(1);
    await page.context().close();
  });

  const looks: Array<[string, BrowserContextOptions]> = [
    ['at 1280 px, light', { colorScheme: 'light' }],
    ['at 390 px, dark', { colorScheme: 'dark', viewport: { width: 390, height: 800 }, isMobile: true }],
    ['in Chinese', { locale: 'zh-CN' }],
  ];
  test.each(looks)('has no serious fault of accessibility and fits its width %s', async (_, options) => {
    const { page } = await signedIn(options);
    for (const route of ['buy', 'break', 'scenario', 'audit']) {
      await page.goto(`${stand.lab.url}#/${route}`);
      await page.locator('main h2').waitFor();
      if (route === 'break') await page.locator('.point').first().click();
      expect([route, await accessibilityFaults(page)]).toEqual([route, []]);
      expect([route, await page.evaluate<number>(OVERFLOW)]).toEqual([route, 0]);
    }
    expect(await page.locator('html').getAttribute('lang')).toBe(options.locale ?? 'en');
    await page.context().close();
  });

  test('breaks nothing where the apps run elsewhere, says why, and ends by Ctrl-C while its page is open', async () => {
    const lab = await LabCommand.start(stand);
    const { page } = await signedIn({}, lab.url);
    await page.getByRole('button', { name: 'Buy', exact: true }).click();
    await finished(page, 'local-message');
    await open(page, 'Break');
    await page.getByRole('note').getByText('These apps run in containers').waitFor();
    await page.getByRole('button', { name: 'Crash point local-message.committed' }).click();
    await page.getByText('Business rows').waitFor();
    expect(await page.getByRole('button', { name: /here$/ }).count()).toBe(0);
    expect(await lab.interrupt()).toBe(0);
    await page.getByText('The demo does not answer.').waitFor();
    // The control: the lab of the demo has the buttons.
    await page.goto(stand.lab.url);
    await signInTo(page);
    await open(page, 'Break');
    await page.getByRole('button', { name: 'Crash point local-message.committed' }).click();
    expect(await page.getByRole('button', { name: /here$/ }).count()).toBe(3);
    await page.context().close();
  });
});
