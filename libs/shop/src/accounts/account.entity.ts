import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../column-types.js';

/** A row of `account`, only for reading. Money is integer cents. */
@Entity('account')
export class Account {
  @PrimaryColumn({ name: 'buyer_id', type: 'varchar' })
  buyerId!: string;

  /** Money that the buyer can spend. */
  @Column({ type: 'bigint', transformer: bigint })
  balance!: number;

  /** Money frozen for undecided purchases (TCC). */
  @Column({ type: 'bigint', transformer: bigint })
  frozen!: number;
}
