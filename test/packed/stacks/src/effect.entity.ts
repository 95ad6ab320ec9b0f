import { Entity, PrimaryColumn } from 'typeorm';

/** What a scheme has done for an order. */
@Entity('effect')
export class Effect {
  @PrimaryColumn({ type: 'varchar', length: 40 })
  scheme!: string;

  @PrimaryColumn({ type: 'varchar', length: 64 })
  orderId!: string;
}
