import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from '../fixtures/browser.js';
import { ConsoleService, signedInAt } from '../fixtures/console-service.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const browser = await openBrowser();
let service: ConsoleService;

beforeAll(async () => {
  service = await ConsoleService.start('console_healing');
});
afterAll(async () => {
  await browser?.close();
  await service?.stop();
});

const signedIn = () => signedInAt(browser as Browser, service.url);

const handled = (gids: readonly string[]) =>
  until('all are handled', async () => (await service.statesOf(gids)).every((state) => state === 'HANDLED'));

test.skipIf(!browser)(
  'a parked row is found, retried and settled by clicks, and the record has the operator',
  async () => {
    await service.park(['one-parked']);
    const page = await signedIn();
    await page.getByRole('link', { name: 'Alerts' }).click();
    await page.getByRole('row').filter({ hasText: 'the shelf is <b>broken</b>' }).getByRole('link').click();
    await page.getByRole('heading', { name: 'one-parked' }).waitFor();
    await page.getByText('an operator: retry or resolve it').waitFor();
    await page.locator('.steps').getByText('gave up: ').waitFor();
    await page.getByRole('button', { name: 'Retry' }).click();
    const dialog = page.getByRole('dialog');
    expect(await dialog.getByRole('heading').textContent()).toBe('Retry: 1 row');
    await dialog.getByLabel('Your name').fill('alice');
    expect(await service.statesOf(['one-parked'])).toEqual(['PARKED']); // nothing happens before the confirmation
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await dialog.getByText('done').waitFor();
    await handled(['one-parked']);
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.locator('.steps').getByText('retry by alice').waitFor();
    await page.getByRole('cell', { name: 'HANDLED' }).waitFor();
    await page.context().close();
  },
);

test.skipIf(!browser)('many parked rows are retried at once after a preview of their number', async () => {
  const gids = Array.from({ length: 25 }, (_, n) => `many-${n}`);
  await service.park(gids);
  const page = await signedIn();
  await page.getByRole('link', { name: 'Alerts' }).click();
  await until('all alerts are shown', async () => (await page.getByRole('row').count()) === 26);
  await page.getByLabel('Select all on this page').check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Retry' }).click();
  const dialog = page.getByRole('dialog');
  expect(await dialog.getByRole('heading').textContent()).toBe('Retry: 25 rows');
  await dialog.getByLabel('Your name').fill('alice');
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await handled(gids);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await page.getByText('Nothing here.').waitFor();
  await page.context().close();
});

test.skipIf(!browser)('all parked rows of a scheme, of all its tables, are retried from the overview', async () => {
  const gids = ['all-1', 'all-2', 'all-3'];
  await service.park(gids);
  // The scheme has a second table with a parked row. It goes to a consumer that no app has, so it stays open.
  await sql(
    service.sandbox,
    'payment',
    `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
     VALUES ('00000000-0000-7000-8000-000000000001', 'sent-by-hand', 'test.shown', 1, '{}', ',payment.nobody,', 'PARKED',
       '9999-12-31', UTC_TIMESTAMP(3))`,
  );
  const page = await signedIn();
  await page.getByRole('button', { name: 'Retry all parked' }).click();
  const dialog = page.getByRole('dialog');
  expect(await dialog.getByRole('heading').textContent()).toBe('Retry all parked: 4 rows');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  expect(await service.statesOf(gids)).toEqual(['PARKED', 'PARKED', 'PARKED']);
  await page.getByRole('button', { name: 'Retry all parked' }).click();
  await dialog.getByLabel('Your name').fill('alice');
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await dialog.getByText('4 rows', { exact: true }).waitFor();
  await handled(gids);
  const [row] = await sql<{ state: string }>(
    service.sandbox,
    'payment',
    "SELECT state FROM dtx_outbox WHERE gid = 'sent-by-hand'",
  );
  expect(row?.state).not.toBe('PARKED');
  await page.context().close();
});

test.skipIf(!browser)(
  'a bulk action is stopped by Escape: the page tells the rows that are done from those that are left',
  async () => {
    const gids = ['stop-1', 'stop-2', 'stop-3'];
    await service.park(gids);
    const page = await signedIn();
    let letGo: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let posts = 0;
    await page.route('**/transactions/*/retry', async (route) => {
      if (++posts === 2) await held;
      await route.continue();
    });
    await page.getByRole('link', { name: 'Alerts' }).click();
    for (const gid of gids)
      await page
        .getByRole('row')
        .filter({ has: page.locator(`a[href$="${gid}"]`) })
        .getByRole('checkbox')
        .check();
    await page.getByRole('toolbar').getByRole('button', { name: 'Retry' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Your name').fill('alice');
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await dialog.getByText('done: 1 / 3, not done: 2').waitFor();
    await until('the second call is under way', () => posts === 2);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await dialog.getByText('done: 1 / 3').waitFor();
    letGo();
    await dialog.getByText('done: 2 / 3, not done: 1').waitFor();
    await dialog.getByRole('button', { name: 'Close' }).waitFor();
    expect(posts).toBe(2);
    await until('two are handled', async () => {
      const states = await service.statesOf(gids);
      return states.filter((state) => state === 'HANDLED').length === 2 && states.includes('PARKED');
    });
    await dialog.getByRole('button', { name: 'Close' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('row').filter({ hasText: 'broken' }).getByRole('button', { name: 'Retry' }).click();
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await handled(gids);
    await page.context().close();
  },
);

test.skipIf(!browser)('an action on no row cannot be confirmed', async () => {
  await sql(
    service.sandbox,
    'payment',
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, alert_error, state, closes_by, opened_at)
     VALUES ('00000000-0000-7000-8000-00000000000a', 'watched', 'xa', 'a-watch', 'watching', 'silent', 'LOGGED', 'itself', UTC_TIMESTAMP(3))`,
  );
  const page = await signedIn();
  await page.getByRole('link', { name: 'Alerts' }).click();
  await page.getByRole('row').filter({ hasText: 'a-watch' }).getByRole('checkbox').check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Retry' }).click();
  const dialog = page.getByRole('dialog');
  expect(await dialog.getByRole('heading').textContent()).toBe('Retry: 0 rows');
  await dialog.getByLabel('Your name').fill('alice');
  expect(await dialog.getByRole('button', { name: 'Confirm' }).isDisabled()).toBe(true);
  await page.context().close();
  await sql(service.sandbox, 'payment', "DELETE FROM dtx_alert WHERE subject_id = 'a-watch'");
});

test.skipIf(!browser)('of two operators at the same row the second one learns that it is settled', async () => {
  await service.park(['wanted']);
  const [first, second] = [await signedIn(), await signedIn()];
  for (const page of [first, second]) {
    await page.getByRole('link', { name: 'Alerts' }).click();
    await page.getByRole('row').filter({ hasText: 'broken' }).getByRole('checkbox').check();
    await page.getByRole('toolbar').getByRole('button', { name: 'Close as done' }).click();
    await page
      .getByRole('dialog')
      .getByLabel('Your name')
      .fill(page === first ? 'alice' : 'bob');
    await page.getByRole('dialog').getByLabel('Note').fill('by hand');
  }
  await first.getByRole('button', { name: 'Confirm' }).click();
  await first.getByRole('dialog').getByText('done', { exact: true }).waitFor();
  await second.getByRole('button', { name: 'Confirm' }).click();
  await second.getByText('was settled already, perhaps by another operator').waitFor();
  const record = await sql(service.sandbox, 'payment', "SELECT operator FROM dtx_operation WHERE action = 'done'");
  expect(record).toEqual([{ operator: 'alice' }]);
  for (const page of [first, second]) await page.context().close();
});

test.skipIf(!browser)(
  'a refusal of an open row has the reason of the app, and does not say that the row is settled',
  async () => {
    await service.park(['no-rejection']);
    const page = await signedIn();
    await page.goto(`${service.url}/console#/transaction/no-rejection`);
    const outcome = page.getByRole('dialog').locator('output');
    await page.route('**/retry', (route) =>
      route.fulfill({ status: 409, json: { detail: 'another operator holds it' } }),
    );
    await page.getByRole('button', { name: 'Retry' }).first().click();
    await page.getByRole('dialog').getByLabel('Your name').fill('alice');
    await page.getByRole('dialog').getByRole('button', { name: 'Confirm' }).click();
    expect((await outcome.textContent())?.trim()).toBe('payment: another operator holds it');
    await page.context().close();
  },
);
