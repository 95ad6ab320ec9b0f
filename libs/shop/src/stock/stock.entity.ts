import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../columns.js';

/** A row of `stock`, for reading: pieces of one sku. */
@Entity('stock')
export class Stock {
  @PrimaryColumn({ type: 'varchar' })
  sku!: string;

  @Column({ type: 'bigint', transformer: bigint })
  available!: number;

  /** Set aside for purchases that are not decided yet (TCC). */
  @Column({ type: 'bigint', transformer: bigint })
  reserved!: number;

  @Column({ type: 'bigint', transformer: bigint })
  sold!: number;

  /** Grows with every change of this row. */
  @Column({ type: 'bigint', transformer: bigint })
  version!: number;
}
