import { Checked, DatabaseOpen, Describe, IdempotencyKey } from '@nest-dtx/host';
import { AVAILABLE_MAX, soldSku } from '@nest-dtx/shop';
import { Body, Controller, Post, UseGuards } from '@nestjs/common';
import { z } from 'zod';
import { type RestockBody, RestockByReliableMessage, type StockLevel } from './restock.initiator.js';
import { stockView } from './stock.controller.js';

const restockBody = z
  .strictObject({ sku: soldSku, quantity: z.int().min(1).max(AVAILABLE_MAX) })
  .meta({ title: 'Restock', example: { sku: 'book', quantity: 10 } });

/** HTTP API of restocks. */
@Controller('restocks')
@UseGuards(DatabaseOpen)
export class RestocksController {
  constructor(private readonly reliableMessage: RestockByReliableMessage) {}

  @Post()
  @Describe({
    summary: 'Adds to the stock of a sku',
    description: `Publishes the new stock to the order app's catalog with a publisher confirm before the commit. Needs the broker. At most ${AVAILABLE_MAX} pieces may be available.`,
    body: restockBody,
    idempotent: true,
    answers: { 201: { description: 'The stock now', schema: stockView } },
    problems: { 409: 'SHELF_FULL, or the first call with this Idempotency-Key is still running' },
  })
  async restock(
    @Body(new Checked(restockBody)) body: RestockBody,
    @IdempotencyKey() key: string | undefined,
  ): Promise<StockLevel> {
    return this.reliableMessage.restock(body, key);
  }
}
