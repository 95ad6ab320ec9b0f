import {
  Checked,
  DatabaseOpen,
  Describe,
  IdempotencyKey,
  type Purchase,
  type PurchaseBody,
  purchaseBody,
  purchaseView,
} from '@nest-dtx/shop';
import { Body, Controller, HttpCode, Post, UseGuards } from '@nestjs/common';
import { FlashSaleByHalfMessage } from './flash-sale.half-message.js';

/** Flash sales: the stock is what is fought for, so it is taken first. */
@Controller('flash-sales')
@UseGuards(DatabaseOpen)
export class FlashSalesController {
  constructor(private readonly halfMessage: FlashSaleByHalfMessage) {}

  @Post()
  @HttpCode(202)
  @Describe({
    summary: 'Makes a purchase with a half message',
    description: 'The stock is taken at once or refused; the order and the money follow. Follow it at GET /orders/{id} of the order app.',
    body: purchaseBody,
    idempotent: true,
    answers: { 202: { description: 'The purchase, PENDING', schema: purchaseView } },
    problems: { 409: 'OUT_OF_STOCK; or the first call with this Idempotency-Key is still running' },
  })
  async sell(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
  ): Promise<Purchase> {
    return this.halfMessage.sell(body, key);
  }
}
