import { Checked, DatabaseOpen, Describe, type HttpRequest, InvalidRequest } from '@nest-dtx/host';
import { paymentResultBody } from '@nest-dtx/shop';
import { Body, Controller, HttpCode, Inject, Post, Req, UnauthorizedException, UseGuards } from '@nestjs/common';
import { DtxDatabase, SignatureInvalid, verifySignature } from 'nest-dtx';
import { DataSource } from 'typeorm';
import type { z } from 'zod';
import { keepResult } from './payment-result-table.js';

export const NOTIFY_SECRETS = Symbol('secrets of notifications');

/** The merchant's webhook for payment results. A duplicate notification has no effect. */
@Controller('payment-results')
@UseGuards(DatabaseOpen)
export class PaymentResultsController {
  constructor(
    private readonly db: DataSource,
    private readonly database: DtxDatabase,
    @Inject(NOTIFY_SECRETS) private readonly secrets: readonly string[],
  ) {}

  @Post()
  @HttpCode(204)
  @Describe({
    summary: 'Receives the result of a payment',
    description:
      'A webhook by Standard Webhooks, signed with DTX_NOTIFY_SECRET. A duplicate is also answered 204 and has no effect.',
    body: paymentResultBody,
    headers: {
      'webhook-id': 'The id of the result, `<orderId>.<status>`',
      'webhook-timestamp': 'Seconds since the epoch',
      'webhook-signature': 'One or more signatures `v1,<base64>`, separated by spaces',
    },
    answers: { 204: { description: 'Accepted' } },
    problems: { 401: 'The signature is missing, wrong or too old' },
  })
  async receive(
    @Req() request: HttpRequest,
    @Body(new Checked(paymentResultBody)) { data }: z.infer<typeof paymentResultBody>,
  ): Promise<void> {
    const eventId = this.verified(request);
    if (eventId !== `${data.orderId}.${data.status}`)
      throw new InvalidRequest([{ field: 'header.webhook-id', why: 'is not the id of this result' }]);
    // One statement, which commits by itself.
    await keepResult(this.db.manager, data, 'told');
  }

  private verified({ headers, rawBody }: HttpRequest): string {
    try {
      const body = rawBody ?? Buffer.alloc(0);
      return verifySignature({ headers, body, secrets: this.secrets, nowMs: this.database.nowMs() });
    } catch (error) {
      if (error instanceof SignatureInvalid) throw new UnauthorizedException(error.message);
      throw error;
    }
  }
}
