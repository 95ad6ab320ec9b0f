import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser, openTab } from '../fixtures/browser.js';
import { CONSOLE_TOKEN, ConsoleService } from '../fixtures/console-service.js';
import { EventStream } from '../fixtures/event-stream.js';
import { until } from '../fixtures/until.js';

// The other tests of the console use Fastify. These are the parts that the two frameworks do differently: paths with a slash
// at the end, files, headers of answers, and a stream that does not end.
const browser = await openBrowser();
let service: ConsoleService;
let page: string;

beforeAll(async () => {
  service = await ConsoleService.start('console_express', { adapter: 'express' });
  page = `${service.url}/console`;
});
afterAll(async () => {
  await browser?.close();
  await service?.stop();
});

const authorization = `Bearer ${CONSOLE_TOKEN}`;

test('Express serves the page and its files with their policy, compressed, and no other file', async () => {
  const response = await fetch(page);
  expect([response.status, response.headers.get('x-powered-by')]).toEqual([200, 'Express']);
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
  const [, script] = /src="(console\/assets\/[^"]+\.js)"/.exec(await response.text())!;
  const file = await fetch(`${service.url}/${script}`);
  expect([file.status, file.headers.get('content-encoding')]).toEqual([200, 'gzip']);
  expect(file.headers.get('content-type')).toContain('javascript');
  for (const path of ['/', '/index.html', '/assets/unknown.js', '/assets/..%2f..%2fpackage.json'])
    expect([path, (await fetch(`${page}${path}`)).status]).toEqual([path, 404]);
});

test('Express streams events, and resumes them by their id', async () => {
  const stream = await EventStream.open(`${service.url}/events`, { authorization });
  expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const { id } = await stream.next('hello');
  stream.close();
  const meanwhile = await EventStream.open(`${service.url}/events`, { authorization });
  await service.send({ gid: 'between' });
  const isBetween = ({ data }: { data: Record<string, unknown> }) => JSON.stringify(data).includes('"between"');
  await meanwhile.next('changes', isBetween);
  const again = await EventStream.open(`${service.url}/events`, { authorization, 'last-event-id': id });
  await again.next('changes', isBetween);
  for (const one of [meanwhile, again]) one.close();
});

test.skipIf(!browser)(
  'over Express a parked row is found, retried and settled by clicks, then the operator signs out',
  async () => {
    await service.park(['over-express']);
    const { page: tab, faults } = await openTab(browser as Browser);
    await tab.goto(page);
    await tab.getByLabel('Admin token').fill(CONSOLE_TOKEN);
    await tab.keyboard.press('Enter');
    await tab.getByText('payment: live').waitFor();
    await tab.getByRole('link', { name: 'Alerts' }).click();
    await tab.getByRole('row').filter({ hasText: 'the shelf is <b>broken</b>' }).getByRole('link').click();
    await tab.getByRole('heading', { name: 'over-express' }).waitFor();
    await tab.getByRole('button', { name: 'Retry' }).click();
    await tab.getByRole('dialog').getByLabel('Your name').fill('alice');
    await tab.getByRole('button', { name: 'Confirm' }).click();
    await until('it is handled', async () => (await service.statesOf(['over-express']))[0] === 'HANDLED');
    await tab.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await tab.getByRole('cell', { name: 'HANDLED' }).waitFor();
    await tab.getByRole('button', { name: 'Sign out' }).click();
    await tab.getByLabel('Admin token').waitFor();
    expect(faults).toEqual([]);
    await tab.context().close();
  },
);

// Last, since the address of the tests is refused for a minute afterwards.
test('Express answers 429 with Retry-After after 30 wrong tokens, also to the right one', async () => {
  const status = async (token: string) =>
    (await fetch(`${service.url}/summary`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await status(CONSOLE_TOKEN)).toBe(200);
  for (let n = 0; n < 30; n++) expect(await status('wrong')).toBe(401);
  const refused = await fetch(`${service.url}/summary`, { headers: { authorization } });
  expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([429, true]);
});
