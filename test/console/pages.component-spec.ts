import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContextOptions } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { accessibilityFaults, openBrowser, openTab, type Tab } from '../fixtures/browser.js';
import { CONSOLE_TOKEN, ConsoleService } from '../fixtures/console-service.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const MARKUP = '<img src=x onerror="window.hacked = true"><script>window.hacked = true</script>';
/** Pixels by which the page is wider than its window. */
const OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
const browser = await openBrowser();
let service: ConsoleService;
let page: string;

beforeAll(async () => {
  service = await ConsoleService.start('console_pages');
  page = `${service.url}/console`;
});
afterAll(async () => {
  await browser?.close();
  await service?.stop();
});

async function signedIn(options: BrowserContextOptions = {}): Promise<Tab> {
  const tab = await openTab(browser as Browser, options);
  await tab.page.goto(page);
  await tab.page.locator('input[name=token]').fill(CONSOLE_TOKEN);
  await tab.page.locator('button[type=submit]').click();
  await tab.page.locator('nav').waitFor();
  return tab;
}

describe('the files of the console', () => {
  test('come with a policy that allows no inline script, no other host and no frame', async () => {
    const response = await fetch(page);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain("connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const html = await response.text();
    expect(html).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=/);
    expect(html).not.toMatch(/https?:\/\//);
  });

  test('have less than 300 kB of compressed script, and come compressed', async () => {
    // All scripts of the package: the page loads some, and its scripts load others.
    const names = readdirSync(join(ROOT, 'libs/console/dist/assets'))
      .filter((name) => name.endsWith('.js'))
      .map((name) => `assets/${name}`);
    expect(await (await fetch(page)).text()).toContain(`src="console/${names.find((name) => /\/index-/.test(name))}"`);
    let bytes = 0;
    for (const name of names) {
      const response = await fetch(`${page}/${name}`);
      expect(response.headers.get('content-encoding')).toBe('gzip');
      expect(response.headers.get('cache-control')).toContain('immutable');
      bytes += gzipSync(Buffer.from(await response.arrayBuffer())).length;
    }
    expect(bytes).toBeLessThan(300_000);
  });

  test.each(['/assets/unknown.js', '/assets/..%2f..%2fpackage.json', '/assets/%2e%2e/index.html', '/index.html', '/'])(
    'are the only ones served: %s is unknown',
    async (path) => {
      expect((await fetch(`${page}${path}`)).status).toBe(404);
    },
  );
});

describe.skipIf(!browser)('the console', () => {
  test('takes the right token only, and keeps it out of the URL and of all storage', async () => {
    const { page: tab, faults, hosts } = await openTab(browser as Browser);
    await tab.goto(page);
    await tab.getByLabel('Admin token').fill('wrong');
    await tab.getByRole('button', { name: 'Sign in' }).click();
    await tab.getByText('The token is wrong.').waitFor();
    await tab.getByLabel('Admin token').fill(CONSOLE_TOKEN);
    await tab.keyboard.press('Enter');
    await tab.getByText('payment: live').waitFor();
    const kept = await tab.evaluate<string>(
      'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
    );
    expect(kept).not.toContain(CONSOLE_TOKEN);
    expect(decodeURIComponent(kept)).toBe(JSON.stringify([{}, {}, '', page]));
    expect([...hosts]).toEqual([new URL(page).host]);
    expect(faults).toEqual([]);
    await tab.getByRole('button', { name: 'Sign out' }).click();
    await tab.getByLabel('Admin token').waitFor();
    await tab.context().close();
  });

  test('shows markup and a megabyte of emoji as text', async () => {
    const emoji = '😀'.repeat(262_144);
    await service.send({ gid: 'hostile', text: MARKUP, emoji });
    const { page: tab, faults } = await signedIn();
    await tab.goto(`${page}#/transaction/hostile`);
    await tab.locator('summary', { hasText: 'Data' }).first().click();
    await tab.getByText('<img src=x').first().waitFor();
    const found = await tab.evaluate<{ images: number; hacked: boolean; text: string }>(`({
      images: document.querySelectorAll('img, main script').length,
      hacked: 'hacked' in window,
      text: document.querySelector('pre')?.textContent ?? '',
    })`);
    expect([found.images, found.hacked]).toEqual([0, false]);
    expect(found.text).toContain(JSON.stringify(MARKUP));
    expect(found.text).toContain(emoji);
    expect(faults).toEqual([]);
    // The control: a page that shows the text as HTML runs it.
    const { page: naive } = await openTab(browser as Browser);
    await naive.setContent(MARKUP);
    expect(await naive.locator('img').count()).toBe(1);
    for (const one of [tab, naive]) await one.context().close();
  });

  test('pages through 10,000 rows without repeating or missing one', async () => {
    await sql(
      service.sandbox,
      'payment',
      `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, created_at)
       WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 999)
       SELECT CONCAT('00800000-', LPAD(a.i * 10 + b.i, 8, '0'), '-rows'), CONCAT('row-', a.i * 10 + b.i), 'test.many', 1,
         '{}', ',', 'DONE', UTC_TIMESTAMP(3) FROM n AS a JOIN n AS b ON b.i < 10`,
    );
    const { page: tab } = await signedIn();
    await tab.getByRole('link', { name: 'Transactions' }).click();
    await tab.getByLabel('State').selectOption('DONE');
    const seen: string[] = [];
    while (seen.length < 200) {
      const gids = await until('the next page', async () => {
        const shown = await tab.locator('tbody small.id').allTextContents();
        return shown.length > 0 && shown[0] !== seen.at(-50) && shown;
      });
      seen.push(...gids);
      await tab.getByRole('button', { name: 'Older' }).click();
    }
    // Rows of other tests are newer than these.
    const rows = seen.filter((gid) => gid.startsWith('row-'));
    expect(rows).toEqual(rows.map((_, index) => `row-${9_999 - index}`));
    expect(rows.length).toBeGreaterThan(150);
    await tab.getByRole('button', { name: 'Newest' }).click();
    await until('the first page', async () => (await tab.locator('tbody small.id').first().textContent()) === seen[0]);
    await tab.context().close();
  });

  test('says that the app does not answer, and goes on by itself when it is back', async () => {
    const { page: tab, faults } = await signedIn();
    await tab.getByText('payment: live').waitFor();
    await service.stop();
    await tab.getByText('payment: reconnecting').waitFor();
    await tab.getByRole('alert').first().waitFor();
    await service.start();
    await tab.getByText('payment: live').waitFor({ timeout: 60_000 });
    await tab.getByRole('alert').first().waitFor({ state: 'detached', timeout: 60_000 });
    expect(faults).toEqual([]);
    await tab.context().close();
  });

  const looks: Array<[string, BrowserContextOptions]> = [
    ['at 1280 px, light', { colorScheme: 'light' }],
    ['at 390 px, dark', { colorScheme: 'dark', viewport: { width: 390, height: 800 }, isMobile: true }],
    ['in Chinese', { locale: 'zh-CN' }],
  ];
  test.each(looks)('has no serious fault of accessibility and fits its width %s', async (_, options) => {
    await service.park([`look-${looks.findIndex((look) => look[1] === options)}`]);
    const { page: tab } = await signedIn(options);
    for (const route of ['overview', 'transactions', 'alerts', 'transaction/look-0']) {
      await tab.goto(`${page}#/${route}`);
      await tab.locator('main h2').waitFor();
      await tab.locator('main table, main .card').first().waitFor();
      expect([route, await accessibilityFaults(tab)]).toEqual([route, []]);
      const width = await tab.evaluate<number>(OVERFLOW);
      expect([route, width]).toEqual([route, 0]);
    }
    const language = await tab.locator('html').getAttribute('lang');
    expect(language).toBe(options.locale ?? 'en');
    await tab.context().close();
  });

  test('is used by the keyboard alone, from the sign-in to a dialog and back', async () => {
    await service.park(['keys']);
    const { page: tab } = await openTab(browser as Browser);
    await tab.goto(page);
    const press = async (until: () => Promise<boolean>) => {
      for (let n = 0; n < 60 && !(await until()); n++) await tab.keyboard.press('Tab');
      expect(await until()).toBe(true);
    };
    const isOn = (selector: string) => async () => (await tab.locator(`${selector}:focus`).count()) > 0;
    await press(isOn('input[name=token]'));
    await tab.keyboard.type(CONSOLE_TOKEN);
    await tab.keyboard.press('Enter');
    await tab.locator('nav').waitFor();
    await press(isOn('a[href="#/alerts"]'));
    await tab.keyboard.press('Enter');
    await tab.locator('tbody input[type=checkbox]').first().waitFor();
    await press(isOn('tbody input[type=checkbox]'));
    await tab.keyboard.press('Space');
    await tab.locator('[role=toolbar] button:enabled').first().waitFor();
    await tab.locator('tbody input[type=checkbox]').first().focus();
    await press(isOn('tbody button'));
    await tab.keyboard.press('Enter');
    await tab.getByRole('dialog').waitFor();
    await tab.keyboard.press('Escape');
    await tab.getByRole('dialog').waitFor({ state: 'detached' });
    await tab.context().close();
  });
});
