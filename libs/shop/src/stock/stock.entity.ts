import { Column, Entity, PrimaryColumn } from 'typeorm';
import { bigint } from '../column-types.js';

/** A row of `stock`, only for reading: pieces of one sku. */
@Entity('stock')
export class Stock {
  @PrimaryColumn({ type: 'varchar' })
  sku!: string;

  @Column({ type: 'bigint', transformer: bigint })
  available!: number;

  /** Pieces reserved for undecided purchases (TCC). */
  @Column({ type: 'bigint', transformer: bigint })
  reserved!: number;

  @Column({ type: 'bigint', transformer: bigint })
  sold!: number;

  /** Incremented by every change of the row. */
  @Column({ type: 'bigint', transformer: bigint })
  version!: number;
}
