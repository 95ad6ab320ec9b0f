import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../column-types.js';
import type { Reason } from '../purchase-schemas.js';

/** A row of `payment`, only for reading: the payment result of one order. It is written once and never changed. */
@Entity('payment')
export class Payment {
  @PrimaryColumn({ name: 'order_id', type: 'char', length: 36 })
  orderId!: string;

  @Column({ name: 'buyer_id', type: 'varchar' })
  buyerId!: string;

  /** Integer cents. */
  @Column({ type: 'bigint', transformer: bigint })
  amount!: number;

  @Column({ type: 'varchar' })
  status!: 'CAPTURED' | 'DECLINED';

  @Column({ type: 'varchar', nullable: true })
  reason!: Reason | null;

  @Column({ name: 'created_at', type: 'datetime', precision: 3 })
  createdAt!: Date;
}
