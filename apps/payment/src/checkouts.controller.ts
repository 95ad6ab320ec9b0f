import {
  absoluteUrl,
  Checked,
  DatabaseOpen,
  Describe,
  type HttpReply,
  type HttpRequest,
  IdempotencyKey,
  NotFound,
} from '@nest-dtx/host';
import {
  isOrderId,
  type Purchase,
  type PurchaseBody,
  PurchaseRefused,
  purchaseBody,
  purchaseView,
} from '@nest-dtx/shop';
import { Body, Controller, Get, Param, Post, Req, Res, UseGuards } from '@nestjs/common';
import { PurchaseByTcc } from './check-out-by-tcc.initiator.js';

/** HTTP API of checkouts by TCC. The answer usually contains the final outcome. */
@Controller('checkouts')
@UseGuards(DatabaseOpen)
export class CheckoutsController {
  constructor(private readonly tcc: PurchaseByTcc) {}

  @Post()
  @Describe({
    summary: 'Makes a purchase with TCC',
    description:
      'Final at once. Try freezes the money, reserves the stock and writes the order. Then all participants confirm, or all cancel.',
    body: purchaseBody,
    idempotent: true,
    answers: {
      201: { description: 'The purchase, CONFIRMED', schema: purchaseView },
      202: {
        description: 'The purchase, PENDING. Its outcome is not known yet. Follow it at Location',
        schema: purchaseView,
      },
    },
    problems: {
      409: 'The purchase was refused (with orderId and reason), or the first call with this Idempotency-Key is still running',
    },
  })
  async checkOut(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) reply: HttpReply,
  ): Promise<Purchase> {
    const purchase = await this.tcc.checkOut(body, key);
    if (purchase.status === 'CANCELLED') throw new PurchaseRefused(purchase.orderId, purchase.reason!);
    reply.status(purchase.status === 'CONFIRMED' ? 201 : 202);
    reply.header('location', absoluteUrl(request, `/checkouts/${purchase.orderId}`));
    return purchase;
  }

  @Get(':orderId')
  @Describe({
    summary: 'Returns a checkout',
    description: 'The same purchase as GET /orders/{orderId} of the order app, in the view of the app that started it.',
    answers: { 200: { description: 'The purchase', schema: purchaseView } },
    problems: { 404: 'The checkout does not exist' },
  })
  async find(@Param('orderId') orderId: string): Promise<Purchase> {
    const purchase = isOrderId(orderId) ? await this.tcc.find(orderId) : null;
    if (purchase === null) throw new NotFound('checkout not found');
    return purchase;
  }
}
