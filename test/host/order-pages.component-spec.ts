import { migrate } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ordersMigrations } from '../../libs/shop/src/orders/migrations.js';
import { Order } from '../../libs/shop/src/orders/order.entity.js';
import { listOrders } from '../../libs/shop/src/orders/order-page.js';
import { type OrderFilters, positionOf } from '../../libs/shop/src/orders/order-page-cursor.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { rowsReadBy } from '../fixtures/rows-read.js';
import { freshSandbox } from '../fixtures/sandbox.js';

const ORDERS = 20_000;
const LIMIT = 20;
/** At most 24 ranges of a page and one row more each, read once from the index and once from the union. */
const READS_MAX = 2 * 24 * (LIMIT + 1);
let source: DataSource;
let all: Order[];

/** Half of the orders are of one buyer, who has none that is CANCELLED. Ten orders have the same time. */
beforeAll(async () => {
  const { databases } = await freshSandbox('order_pages', { audited: false });
  const options = { type: 'mysql' as const, url: databases.order, timezone: 'Z', poolSize: 1, entities: [Order] };
  source = await new DataSource(options).initialize();
  await migrate(source, 'order', ordersMigrations);
  await source.query(
    `INSERT INTO orders (order_id, scheme, buyer_id, sku, quantity, amount, status, created_at, updated_at)
     SELECT CONCAT('01976d2e-8c1b-7d3a-9f00-', LPAD(n * 7919 % 1000003, 12, '0')),
       ELT(1 + n DIV 2 % 4, 'local-message', 'xa', 'tcc', 'half-message'),
       IF(n % 2 = 0, 'alice', CONCAT('buyer-', n % 99)), 'book', 1, 1999,
       IF(n % 2 = 1 AND n % 5 = 0, 'CANCELLED', IF(n % 1000 = 3, 'PENDING', 'CONFIRMED')),
       '2026-01-31 09:15:00' - INTERVAL n DIV 10 SECOND, UTC_TIMESTAMP(3) FROM ${numbersBelow(ORDERS)}`,
  );
  await source.query('ANALYZE TABLE orders');
  all = await source.getRepository(Order).find();
  all.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.orderId < b.orderId ? 1 : -1));
}, 120_000);

afterAll(() => source?.destroy());

const FILTERS: OrderFilters[] = [undefined, 'alice', 'buyer-7', 'stranger'].flatMap((buyerId) =>
  ([undefined, 'CANCELLED', 'PENDING'] as const).flatMap((status) =>
    ([undefined, 'tcc'] as const).map((scheme) => ({
      ...(buyerId && { buyerId }),
      ...(status && { status }),
      ...(scheme && { scheme }),
    })),
  ),
);

const wanted = (filters: OrderFilters) =>
  all.filter((order) => Object.entries(filters).every(([field, value]) => order[field as keyof Order] === value));

describe(`a page of ${ORDERS} orders`, () => {
  test.each(FILTERS)(
    'a page with the filters %j has the right orders and reads few rows, wherever it begins',
    async (filters) => {
      const expected = wanted(filters);
      for (const from of [0, 1, 5_000, 15_000, ORDERS - 1]) {
        // The cursor may be of any order, also one that the filters leave out.
        const after = from === 0 ? undefined : all[from - 1];
        const rest = after ? expected.filter((order) => all.indexOf(order) >= from) : expected;
        const page = await listOrders(source.manager, filters, { limit: LIMIT, ...(after && { after }) });
        expect(page.items.map(({ orderId }) => orderId)).toEqual(rest.slice(0, LIMIT).map(({ orderId }) => orderId));
        expect(page.nextCursor !== null).toBe(rest.length > LIMIT);
        const read = await rowsReadBy(source, () =>
          listOrders(source.manager, filters, { limit: LIMIT, ...(after && { after }) }),
        );
        expect(read).toBeLessThan(READS_MAX);
      }
    },
  );

  test('pages follow each other without a gap or a repetition', async () => {
    const filters: OrderFilters = { buyerId: 'buyer-7' };
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const after: { createdAt: Date; orderId: string } | null = cursor === '' ? null : positionOf(cursor, filters);
      const page = await listOrders(source.manager, filters, { limit: 7, ...(after && { after }) });
      seen.push(...page.items.map(({ orderId }) => orderId));
      cursor = page.nextCursor;
    }
    expect(seen).toEqual(wanted(filters).map(({ orderId }) => orderId));
  });
});
