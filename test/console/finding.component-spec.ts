import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from '../fixtures/browser.js';
import { ConsoleService, signedInAt } from '../fixtures/console-service.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const browser = await openBrowser();
let service: ConsoleService;

beforeAll(async () => {
  service = await ConsoleService.start('console_finding');
});
afterAll(async () => {
  await browser?.close();
  await service?.stop();
});

const signedIn = () => signedInAt(browser as Browser, service.url);

test.skipIf(!browser)('the id of a row leads to its transaction, and a row without a gid is shown alone', async () => {
  await service.park(['by-row-id']);
  const [row] = await sql<{ id: string }>(
    service.sandbox,
    'payment',
    "SELECT id FROM dtx_inbox WHERE gid = 'by-row-id'",
  );
  await sql(
    service.sandbox,
    'payment',
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body)
     VALUES ('lonely.payment.shown', 'lonely', 'payment.shown', NULL, 'local-message', 'test.shown.v1', 'PARKED', '9999-12-31',
       UTC_TIMESTAMP(3), '{"shelf":"empty"}')`,
  );
  const page = await signedIn();
  await page.getByRole('link', { name: 'Transactions' }).click();
  await page.getByLabel('Id or gid').fill(row!.id);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'by-row-id' }).waitFor();
  await page.goto(`${service.url}/console#/transaction/lonely.payment.shown`);
  await page.getByText('This row belongs to no global transaction.').waitFor();
  await page.getByRole('cell', { name: 'PARKED' }).waitFor();
  await page.locator('summary', { hasText: 'Data' }).click();
  await page.getByText('"shelf": "empty"').waitFor();
  await page.goto(`${service.url}/console#/transaction/nowhere`);
  await page.getByText('No app knows this id.').waitFor();
  await page.context().close();
});

test.skipIf(!browser)('a name beyond ASCII is on record as it was typed', async () => {
  await service.park(['named']);
  const page = await signedIn();
  await page.goto(`${service.url}/console#/transaction/named`);
  await page.getByRole('button', { name: 'Retry' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('local-message: The message is sent again, or its handler runs again.').waitFor();
  await dialog.getByLabel('Your name').fill('王小明');
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await until('it is handled', async () => (await service.statesOf(['named']))[0] === 'HANDLED');
  const record = await sql(service.sandbox, 'payment', "SELECT operator FROM dtx_operation WHERE operator LIKE '王%'");
  expect(record).toEqual([{ operator: '王小明' }]);
  await page.context().close();
});

test.skipIf(!browser)('alerts beyond the first hundred are announced, and read on demand', async () => {
  await sql(
    service.sandbox,
    'payment',
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, alert_error, state, closes_by, opened_at)
     WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 150)
     SELECT CONCAT('00000000-0000-7000-8000-', LPAD(i, 12, '0')), CONCAT('many', i), 'xa', CONCAT('many-', i), 'watching',
       'silent', 'LOGGED', 'itself', UTC_TIMESTAMP(3) FROM n`,
  );
  const page = await signedIn();
  await page.getByRole('link', { name: 'Alerts' }).click();
  await page.getByText('Newest alerts are shown. There are more.').waitFor();
  expect(await page.getByRole('row').count()).toBe(101);
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.getByText('many-1', { exact: true }).waitFor();
  expect(await page.getByText('There are more.').count()).toBe(0);
  await page.context().close();
});
