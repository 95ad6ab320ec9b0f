/**
 * Step 2 of 2 - consume: stores the stock hint of a restock. Redis deduplicates outside the database transaction, so a
 * message may be handled twice. It may also describe a restock that was rolled back. An absolute, versioned hint
 * tolerates both, since a duplicate changes nothing and the next change corrects the value.
 */
import { type StockRestocked, stockRestocked } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';
import { keepNewest } from './stock-hint-table.js';

@Controller()
export class RestockHintByReliableMessage {
  @OnMessage(stockRestocked, { duplicates: 'redis' })
  async keep(tx: EntityManager, change: StockRestocked): Promise<void> {
    await keepNewest(tx, change);
  }
}
