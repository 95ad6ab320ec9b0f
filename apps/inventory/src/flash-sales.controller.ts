import { Checked, DatabaseOpen, Describe, IdempotencyKey } from '@nest-dtx/host';
import { type Purchase, type PurchaseBody, purchaseBody, purchaseView } from '@nest-dtx/shop';
import { Body, Controller, HttpCode, Post, UseGuards } from '@nestjs/common';
import { FlashSaleByHalfMessage } from './flash-sale.initiator.js';

/** HTTP API of flash sales. Stock is the scarce resource, so it is taken first and a refusal is immediate. */
@Controller('flash-sales')
@UseGuards(DatabaseOpen)
export class FlashSalesController {
  constructor(private readonly halfMessage: FlashSaleByHalfMessage) {}

  @Post()
  @HttpCode(202)
  @Describe({
    summary: 'Makes a purchase with a half message',
    description:
      'The stock is taken or refused at once. Order and payment follow, and GET /orders/{orderId} of the order app returns the purchase at the latest when it has settled. Needs the broker.',
    body: purchaseBody,
    idempotent: true,
    answers: { 202: { description: 'The purchase, PENDING. Its stock is taken', schema: purchaseView } },
    problems: {
      409: 'OUT_OF_STOCK (with orderId), or the first call with this Idempotency-Key is still running',
    },
  })
  async sell(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
  ): Promise<Purchase> {
    return this.halfMessage.sell(body, key);
  }
}
