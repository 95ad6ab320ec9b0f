import { migrate } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AskPayments } from '../../apps/order/src/payment-result-inquiry.js';
import { paymentResultMigrations } from '../../apps/order/src/payment-result-table.js';
import { ordersMigrations } from '../../libs/shop/src/orders/migrations.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { rowsReadBy } from '../fixtures/rows-read.js';
import { freshSandbox } from '../fixtures/sandbox.js';

const ORDERS = 20_000;
/** The orders of the last minute are read again, and nothing else is. */
const READS_MAX = 200;
const ABOUT = { olderThanMs: 120_000, limit: 100 };
let source: DataSource;
let ask: AskPayments;

/** One connection, so that the counters of its session are those of the statements under test. */
beforeAll(async () => {
  const { databases } = await freshSandbox('notify_low_water', { audited: false });
  source = await new DataSource({ type: 'mysql', url: databases.order, timezone: 'Z', poolSize: 1 }).initialize();
  await migrate(source, 'order', [...ordersMigrations, ...paymentResultMigrations]);
  await source.query(
    `INSERT INTO orders (order_id, scheme, buyer_id, sku, quantity, amount, status, created_at, updated_at)
     SELECT CONCAT('known-', LPAD(n, 6, '0')), 'xa', 'alice', 'book', 1, 1999, 'CONFIRMED', UTC_TIMESTAMP(3) - INTERVAL n + 600 SECOND,
       UTC_TIMESTAMP(3) FROM ${numbersBelow(ORDERS)}`,
  );
  await source.query(
    `INSERT INTO payment_result (event_id, order_id, status, amount, source, received_at)
     SELECT order_id, order_id, 'CAPTURED', 1999, 'told', UTC_TIMESTAMP(3) FROM orders`,
  );
});

beforeEach(async () => {
  await source.query(`DELETE FROM orders WHERE order_id LIKE 'open-%'`);
  ask = new AskPayments(source, undefined as never, 'http://payment');
});

afterAll(() => source?.destroy());

const insert = (id: string, ageSeconds: number) =>
  source.query(
    `INSERT INTO orders (order_id, scheme, buyer_id, sku, quantity, amount, status, created_at, updated_at)
     VALUES (?, 'xa', 'alice', 'book', 1, 1999, 'CONFIRMED', UTC_TIMESTAMP(3) - INTERVAL ? SECOND, UTC_TIMESTAMP(3))`,
    [id, ageSeconds],
  );

describe('AskPayments.missing', () => {
  test(`a round reads few rows once a pass over ${ORDERS} orders has found results for all`, async () => {
    expect(await rowsReadBy(source, () => ask.missing(ABOUT))).toBeGreaterThanOrEqual(ORDERS);
    expect(await rowsReadBy(source, () => ask.missing(ABOUT))).toBeLessThan(READS_MAX);
  });

  test('a round reads few rows while an old order stays without a result, and asks for it each time', async () => {
    await insert('open-old', 80_000);
    expect(await ask.missing(ABOUT)).toEqual(['open-old']);
    expect(await rowsReadBy(source, async () => expect(await ask.missing(ABOUT)).toEqual(['open-old']))).toBeLessThan(
      READS_MAX,
    );
  });

  test('an order is asked for after its time, and no more once its result is known', async () => {
    await insert('open-young', 30);
    expect(await ask.missing(ABOUT)).toEqual([]);
    await source.query(`UPDATE orders SET created_at = created_at - INTERVAL 91 SECOND WHERE order_id = 'open-young'`);
    expect(await ask.missing(ABOUT)).toEqual(['open-young']);
    await source.query(
      `INSERT INTO payment_result VALUES ('open-young', 'open-young', 'CAPTURED', 1999, 'told', UTC_TIMESTAMP(3))`,
    );
    expect(await ask.missing(ABOUT)).toEqual([]);
  });

  test('an order of another app that is inserted half a minute late is asked for', async () => {
    await insert('open-first', 130);
    expect(await ask.missing(ABOUT)).toEqual(['open-first']);
    await insert('open-late', 150);
    expect(await ask.missing(ABOUT)).toEqual(expect.arrayContaining(['open-first', 'open-late']));
  });

  test('an order beyond the horizon is not asked for any more', async () => {
    await insert('open-old', 80_000);
    await ask.missing(ABOUT);
    await source.query(`UPDATE orders SET created_at = created_at - INTERVAL 1 DAY WHERE order_id = 'open-old'`);
    expect(await ask.missing(ABOUT)).toEqual([]);
  });

  test('each of many orders without a result is asked for in turn', async () => {
    for (let n = 0; n < 5; n++) await insert(`open-${n}`, 1_000 + n);
    const asked = [];
    for (let round = 0; round < 5; round++) asked.push(...(await ask.missing({ ...ABOUT, limit: 2 })));
    expect(asked).toHaveLength(10);
    expect(new Set(asked).size).toBe(5);
  });
});
