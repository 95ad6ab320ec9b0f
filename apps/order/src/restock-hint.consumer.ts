/**
 * Step 2 of 2 - consume: the catalog's stock hint after a restock. Duplicates are known by Redis, which is away from this
 * database: a message may be handled twice, and may tell of a restock that was rolled back. An absolute, versioned hint
 * bears both: the same again changes nothing, and the next true change corrects what never was.
 */
import { type StockRestocked, stockRestocked } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';
import { keepNewest } from './stock-hint.js';

@Controller()
export class RestockHintByReliableMessage {
  @OnMessage(stockRestocked, { duplicates: 'redis' })
  async keep(tx: EntityManager, change: StockRestocked): Promise<void> {
    await keepNewest(tx, change);
  }
}
