import type { Purchase } from '../purchase-schemas.js';
import type { Order } from './order.entity.js';

/** The view of an order in the answers of all apps. */
export function viewOf(order: Omit<Order, 'notifyUrl'>): Purchase {
  const { orderId, scheme, buyerId, sku, quantity, amount, status, reason } = order;
  return {
    orderId,
    scheme,
    buyerId,
    sku,
    quantity,
    amount,
    status,
    ...(reason !== null && { reason }),
    createdAt: order.createdAt.toISOString(),
    updatedAt: order.updatedAt.toISOString(),
  };
}

/**
 * The view of an order at the time of its acceptance, PENDING. The first call and every replay of its `Idempotency-Key`
 * answer it, even after the order is settled.
 */
export function acceptedViewOf(order: Omit<Order, 'status' | 'reason' | 'notifyUrl' | 'updatedAt'>): Purchase {
  return viewOf({ ...order, status: 'PENDING', reason: null, updatedAt: order.createdAt });
}
