import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../column-types.js';
import type { OrderStatus, Reason, Scheme } from '../purchase-schemas.js';

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
