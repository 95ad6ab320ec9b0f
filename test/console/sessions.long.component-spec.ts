import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBrowser, openTab } from '../fixtures/browser.js';
import { CONSOLE_TOKEN, ConsoleService } from '../fixtures/console-service.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

const browser = await openBrowser();
let service: ConsoleService;
let proxy: TcpProxy;

beforeAll(async () => {
  service = await ConsoleService.start('console_sessions');
  proxy = await TcpProxy.start(service.url);
});
afterAll(async () => {
  await browser?.close();
  await proxy?.close();
  await service?.stop();
});

interface Signed {
  readonly page: Page;
  /** The id that each call of `/events` resumes after. */
  readonly resumed: Array<string | undefined>;
  readonly calls: string[];
  /** Calls that the page has ended before their answer did. */
  readonly ended: string[];
}

async function signedIn({ hasClock = false } = {}): Promise<Signed> {
  const { page } = await openTab(browser as Browser);
  if (hasClock) await page.clock.install();
  const resumed: Array<string | undefined> = [];
  const calls: string[] = [];
  const ended: string[] = [];
  page.on('requestfailed', (request) => ended.push(new URL(request.url()).pathname));
  page.on('request', (request) => {
    const { pathname } = new URL(request.url());
    calls.push(pathname);
    if (pathname.endsWith('/events')) resumed.push(request.headers()['last-event-id']);
  });
  await page.goto(`${proxy.url}/console`);
  await page.getByLabel('Admin token').fill(CONSOLE_TOKEN);
  await page.keyboard.press('Enter');
  await page.getByText('payment: live').waitFor();
  return { page, resumed, calls, ended };
}

describe.skipIf(!browser)('a session of the console', () => {
  test('resumes its events by their last id after the connection was cut', async () => {
    const { page, resumed } = await signedIn();
    await page.getByRole('link', { name: 'Transactions' }).click();
    await service.send({ gid: 'before-the-cut' });
    await page.getByText('before-the-cut').first().waitFor();
    proxy.cut();
    await page.getByText('payment: reconnecting').waitFor();
    await service.send({ gid: 'in-the-cut' });
    proxy.heal();
    await page.getByText('payment: live').waitFor();
    await page.getByText('in-the-cut').first().waitFor();
    expect(resumed[0]).toBeUndefined();
    expect(resumed.at(-1)).toMatch(/^[0-9a-f]{8}-[1-9]\d*$/);
    await page.context().close();
  });

  test('notices a connection that a firewall has forgotten, since no ping arrives', async () => {
    const { page, resumed } = await signedIn({ hasClock: true });
    expect(resumed).toHaveLength(1);
    proxy.forget();
    await page.clock.fastForward(60_000);
    await until('the events are asked for again', () => resumed.length > 1);
    await page.getByText('payment: live').waitFor();
    await page.context().close();
  });

  test('reads nothing for a hidden tab, and everything anew when it is shown', async () => {
    const { page, calls } = await signedIn({ hasClock: true });
    const lists = () => calls.filter((path) => path.endsWith('/transactions')).length;
    const show = (state: 'visible' | 'hidden') =>
      page.evaluate(`
        Object.defineProperty(document, 'visibilityState', { value: '${state}', configurable: true });
        Object.defineProperty(document, 'hidden', { value: ${state === 'hidden'}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
      `);
    await page.getByRole('link', { name: 'Transactions' }).click();
    await page.getByRole('cell').first().waitFor();
    // The control: a change is read in a tab that is seen.
    await service.send({ gid: 'while-seen' });
    await page.getByText('while-seen').first().waitFor();
    await show('hidden');
    const before = lists();
    await service.send({ gid: 'while-hidden' });
    await until('it is handled', async () => (await service.statesOf(['while-hidden']))[0] === 'HANDLED');
    await page.clock.fastForward(30_000);
    expect(lists()).toBe(before);
    await show('visible');
    await page.getByText('while-hidden').first().waitFor();
    expect(lists()).toBeGreaterThan(before);
    await page.context().close();
  });

  test('ends with the sign-out: no data is shown, and nothing calls the app any more', async () => {
    await service.send({ gid: 'secret-of-the-session' });
    const { page, calls, ended } = await signedIn({ hasClock: true });
    await page.getByRole('link', { name: 'Transactions' }).click();
    await page.getByText('secret-of-the-session').first().waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Admin token').waitFor();
    expect(await page.locator('body').textContent()).not.toContain('secret-of-the-session');
    await until('the stream of events is ended', () => ended.some((path) => path.endsWith('/events')));
    const before = calls.length;
    await page.clock.fastForward(120_000);
    // One attempt to be let in without a token, by a guard of the app, belongs to the form.
    expect(calls.slice(before).filter((path) => !path.endsWith('/topology'))).toEqual([]);
    await page.context().close();
  });

  test('calls an app with a refused token once, asks to sign in again, and goes on with the right one', async () => {
    const { page, calls } = await signedIn({ hasClock: true });
    let isRefused = true;
    // The operator of the app has changed its token, so the app is as one that answers 401 from now on.
    await page.route('**/dtx/**', (route) =>
      isRefused && !route.request().url().includes('/console')
        ? route.fulfill({ status: 401, json: { detail: 'admin token missing or wrong' } })
        : route.fallback(),
    );
    proxy.cut();
    proxy.heal();
    await page.getByText('payment: signed out').waitFor();
    const before = calls.length;
    await page.clock.fastForward(300_000);
    expect(calls.slice(before)).toEqual([]);
    isRefused = false;
    await page.getByText('the token is refused. Sign in again').first().click();
    await page.getByLabel('Admin token').fill(CONSOLE_TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('payment: live').waitFor();
    await until('the data is read again', async () => (await page.getByText('the token is refused').count()) === 0);
    expect(calls.slice(before).length).toBeGreaterThan(1);
    await page.context().close();
  });

  test('does not begin after 30 wrong tokens in a minute, and the page says why', async () => {
    const { page } = await openTab(browser as Browser);
    await page.goto(`${proxy.url}/console`);
    await page.getByLabel('Admin token').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The token is wrong.').waitFor();
    const guess = () => fetch(`${service.url}/summary`, { headers: { authorization: 'Bearer guess' } });
    await until('the address is refused', async () => (await guess()).status === 429);
    await page.getByLabel('Admin token').fill(CONSOLE_TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Too many wrong tokens. Wait a minute.').waitFor();
    await page.context().close();
  });
});
