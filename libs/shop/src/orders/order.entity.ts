import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../column-types.js';
import type { OrderStatus, Purchase, Reason, Scheme } from '../purchase-schemas.js';

/** A row of `orders`, only for reading. `orders.ts` writes by single statements. */
@Entity('orders')
export class Order {
  @PrimaryColumn({ name: 'order_id', type: 'char', length: 36 })
  orderId!: string;

  @Column({ type: 'varchar' })
  scheme!: Scheme;

  @Column({ name: 'buyer_id', type: 'varchar' })
  buyerId!: string;

  @Column({ type: 'varchar' })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;

  @Column({ type: 'bigint', transformer: bigint })
  amount!: number;

  @Column({ type: 'varchar' })
  status!: OrderStatus;

  @Column({ type: 'varchar', nullable: true })
  reason!: Reason | null;

  @Column({ name: 'notify_url', type: 'varchar', nullable: true })
  notifyUrl!: string | null;

  @Column({ name: 'created_at', type: 'datetime', precision: 3 })
  createdAt!: Date;

  @Column({ name: 'updated_at', type: 'datetime', precision: 3 })
  updatedAt!: Date;
}

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
