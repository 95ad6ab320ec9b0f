import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../columns.js';

/** A row of `account`, for reading. Money is integer cents. */
@Entity('account')
export class Account {
  @PrimaryColumn({ name: 'buyer_id', type: 'varchar' })
  buyerId!: string;

  /** What the buyer can spend. */
  @Column({ type: 'bigint', transformer: bigint })
  balance!: number;

  /** Set aside for purchases that are not decided yet (TCC). */
  @Column({ type: 'bigint', transformer: bigint })
  frozen!: number;
}
