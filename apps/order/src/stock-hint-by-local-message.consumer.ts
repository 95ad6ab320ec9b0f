import { type StockChanged, stockChanged } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { keepNewest } from './stock-hint-table.js';

/** Step 3 of 6 - receive: the order app stores a stock hint. Hints may arrive in any order, and the newest version wins. */
@Controller()
export class StockHintByLocalMessage {
  @OnMessage(stockChanged)
  async keep(tx: EntityManager, change: StockChanged): Promise<void> {
    await keepNewest(tx, change);
  }
}
