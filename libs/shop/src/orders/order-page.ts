/** Lists orders page by page, newest first. */
import type { EntityManager } from 'typeorm';
import { Order } from './order.entity.js';
import { cursorOf, type OrderFilters, type Position } from './order-page-cursor.js';
import { keysOfPage } from './order-page-query.js';

export interface OrderPage {
  items: Order[];
  /** Null on the last page. */
  nextCursor: string | null;
}

/** Reads one page, and one more row to detect a next page. */
export async function listOrders(
  manager: EntityManager,
  filters: OrderFilters,
  page: { limit: number; after?: Position },
): Promise<OrderPage> {
  const { sql, parameters } = keysOfPage(filters, page.limit + 1, page.after);
  const rows = await manager
    .getRepository(Order)
    .createQueryBuilder('o')
    .innerJoin(`(${sql})`, 'k', 'k.id = o.order_id')
    .orderBy('k.at', 'DESC')
    .addOrderBy('k.id', 'DESC')
    .setParameters(parameters)
    .getMany();
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > page.limit && last ? cursorOf(last, filters) : null };
}
