/** Steps 2 and 4 of 4 - take part: the stock as a TCC participant. Try reserves it, Confirm sells it, Cancel releases it. */
import { type InventoryStock, inventoryStock, releaseReserved, reserveStock, sellReserved } from '@nest-dtx/shop';
import { type TccBranch, TccParticipant } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

@TccParticipant(inventoryStock, { try: 'reserve', confirm: 'sell', cancel: 'release' })
export class StockParticipant {
  async reserve(tx: EntityManager, pieces: InventoryStock): Promise<void> {
    await reserveStock(tx, pieces);
  }

  async sell(tx: EntityManager, pieces: InventoryStock, { gid: orderId }: TccBranch): Promise<void> {
    await sellReserved(tx, orderId, pieces);
  }

  async release(tx: EntityManager, pieces: InventoryStock, { gid: orderId }: TccBranch): Promise<void> {
    await releaseReserved(tx, orderId, pieces);
  }
}
