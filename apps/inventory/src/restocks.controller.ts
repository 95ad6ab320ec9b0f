import { Checked, DatabaseOpen, Describe, IdempotencyKey } from '@nest-dtx/host';
import { AVAILABLE_MAX, soldSku } from '@nest-dtx/shop';
import { Body, Controller, Post, UseGuards } from '@nestjs/common';
import { z } from 'zod';
import { type RestockBody, RestockByReliableMessage, type StockLevel } from './restock.initiator.js';
import { stockView } from './stock.controller.js';

const restockBody = z
  .strictObject({ sku: soldSku, quantity: z.int().min(1).max(AVAILABLE_MAX) })
  .meta({ title: 'Restock', example: { sku: 'book', quantity: 10 } });

/** Restocks: goods that come in. */
@Controller('restocks')
@UseGuards(DatabaseOpen)
export class RestocksController {
  constructor(private readonly reliableMessage: RestockByReliableMessage) {}

  @Post()
  @Describe({
    summary: 'Adds to the stock of a sku',
    description: `The order app's catalog hears of it by a reliable message as any broker can do it: published with confirm before the commit. Needs the broker. At most ${AVAILABLE_MAX} are available then.`,
    body: restockBody,
    idempotent: true,
    answers: { 201: { description: 'The stock now', schema: stockView } },
    problems: { 409: 'There would be too many; or the first call with this Idempotency-Key is still running' },
  })
  async restock(
    @Body(new Checked(restockBody)) body: RestockBody,
    @IdempotencyKey() key: string | undefined,
  ): Promise<StockLevel> {
    return this.reliableMessage.restock(body, key);
  }
}
