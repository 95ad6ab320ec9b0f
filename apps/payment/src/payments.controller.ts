import { DatabaseOpen, Describe, NotFound } from '@nest-dtx/host';
import { cents, findPayment, isOrderId, name } from '@nest-dtx/shop';
import { Controller, Get, Param, UseGuards } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { z } from 'zod';

const paymentView = z
  .object({ orderId: z.uuid(), buyerId: name, amount: cents, status: z.enum(['CAPTURED', 'DECLINED']) })
  .meta({
    title: 'Payment',
    example: {
      orderId: '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f',
      buyerId: 'alice',
      amount: 1999,
      status: 'CAPTURED',
    },
  });

/** HTTP API of payment results, for receivers that missed a notification. */
@Controller('payments')
@UseGuards(DatabaseOpen)
export class PaymentsController {
  constructor(private readonly db: DataSource) {}

  @Get(':orderId')
  @Describe({
    summary: 'Returns the payment result of an order',
    answers: { 200: { description: 'The payment', schema: paymentView } },
    problems: { 404: 'This order id has no payment, or not yet' },
  })
  async get(@Param('orderId') orderId: string): Promise<z.infer<typeof paymentView>> {
    const payment = isOrderId(orderId) ? await findPayment(this.db.manager, orderId) : null;
    if (payment === null) throw new NotFound('payment not found; this order id has none, or not yet');
    return { orderId, buyerId: payment.buyerId, amount: payment.amount, status: payment.status };
  }
}
