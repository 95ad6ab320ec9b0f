import { afterAll, beforeAll, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const TOKEN = 'the admin token';
/** Ids on both sides of the internal row of `dtx_xa`, `log~sentinel`, in the order of a list. */
const IDS = ['order-2', 'order-1', 'old-1', 'lo-1', 'A-1'];
let sandbox: Sandbox;
let service: LittleService;
let url: string;

beforeAll(async () => {
  sandbox = await freshSandbox('pages_without_sentinel', { audited: false });
  service = await LittleService.start({
    sandbox,
    library,
    imports: [library.OpsModule.forRoot({ adminToken: TOKEN })],
    xa: { branches: { inventory: { url: sandbox.databases.inventory } }, acceptUnflushed: true },
  });
  await service.app.listen(0, '127.0.0.1');
  url = `${await service.app.getUrl()}/dtx/transactions`;
  for (const id of IDS)
    await sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_tcc (id, gid, state, decision, deadline, created_at, decided_at, settled_at)
       VALUES (?, ?, 'DONE', 'CONFIRM', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [id, id],
    );
});
afterAll(() => service?.close());

interface Page {
  readonly items: Array<{ readonly id: string }>;
  readonly nextCursor: string | null;
}

async function page(query: string): Promise<Page> {
  const response = await fetch(`${url}?${query}`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const body = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body as Page;
}

/** The ids of all pages of one entry, by their cursors. */
async function walked(query: string): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { items, nextCursor }: Page = await page(`limit=1${query}${cursor && `&cursor=${cursor}`}`);
    ids.push(...items.map(({ id }) => id));
    cursor = nextCursor;
  }
  return ids;
}

test('no page lists the internal row of the decision log, on whichever side of it the cursor is', async () => {
  const [sentinel] = await sql(sandbox, 'payment', `SELECT state FROM dtx_xa WHERE id = 'log~sentinel'`);
  expect(sentinel).toEqual({ state: 'DONE' });
  expect(await walked('')).toEqual(IDS);
});

test('a list of one state and a list of one scheme leave the internal row out of their later pages', async () => {
  expect(await walked('&state=DONE')).toEqual(IDS);
  for (const id of IDS) {
    const cursor = Buffer.from(id).toString('base64url');
    expect((await page(`scheme=xa&cursor=${cursor}`)).items).toEqual([]);
  }
});
