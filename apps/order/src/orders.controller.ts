import {
  absoluteUrl,
  Checked,
  DatabaseOpen,
  Describe,
  goneSignal,
  type HttpReply,
  type HttpRequest,
  IdempotencyKey,
  InvalidRequest,
  NotFound,
  queryNumber,
} from '@nest-dtx/host';
import {
  findOrder,
  isOrderId,
  listOrders,
  name,
  ORDER_STATUSES,
  type Order,
  type Purchase,
  type PurchaseBody,
  PurchaseRefused,
  positionOf,
  purchaseBody,
  purchaseView,
  SCHEMES,
  viewOf,
} from '@nest-dtx/shop';
import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { z } from 'zod';
import { OrderReads } from './batched-order-reads.js';
import { LongPolls } from './long-poll-quota.js';
import { PlaceOrderByLocalMessage } from './place-order-by-local-message.initiator.js';
import { PlaceOrderBySaga } from './place-order-by-saga.initiator.js';
import { PlaceOrderByXa } from './place-order-by-xa.initiator.js';
import { SettledOrders } from './settled-order-waits.js';

const WAIT_MS_MAX = 30_000;
const PAGE_DEFAULT = 20;
const PAGE_MAX = 100;

const findQuery = z.strictObject({ waitMs: queryNumber(0, WAIT_MS_MAX).optional() });

const listQuery = z.strictObject({
  scheme: z.enum(SCHEMES).optional(),
  status: z.enum(ORDER_STATUSES).optional(),
  buyerId: name.optional(),
  limit: queryNumber(1, PAGE_MAX).optional(),
  cursor: z.string().max(100).optional(),
});

const page = z
  .object({ items: z.array(purchaseView), nextCursor: z.string().nullable() })
  .meta({ title: 'PurchasePage' });

/** HTTP API of orders: placing a purchase and following it. */
@Controller('orders')
@UseGuards(DatabaseOpen)
export class OrdersController {
  constructor(
    private readonly db: DataSource,
    private readonly localMessage: PlaceOrderByLocalMessage,
    private readonly xa: PlaceOrderByXa,
    private readonly saga: PlaceOrderBySaga,
    private readonly settled: SettledOrders,
    private readonly longPolls: LongPolls,
    private readonly reads: OrderReads,
  ) {}

  @Post()
  @HttpCode(202)
  @Describe({
    summary: 'Makes a purchase with the local message table',
    description:
      'Accepted at once, even if the broker is unavailable. The purchase settles soon afterwards. Follow it at Location.',
    body: purchaseBody,
    idempotent: true,
    answers: { 202: { description: 'The purchase, PENDING', schema: purchaseView } },
  })
  async place(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) reply: HttpReply,
  ): Promise<Purchase> {
    const purchase = await this.localMessage.place(body, key);
    reply.header('location', absoluteUrl(request, `/orders/${purchase.orderId}`));
    return purchase;
  }

  @Post('xa')
  @HttpCode(201)
  @Describe({
    summary: 'Makes a purchase with XA two-phase commit',
    description:
      'Final at once. Order, stock and money commit together in three databases, or not at all. Needs the three databases and no broker.',
    body: purchaseBody,
    idempotent: true,
    answers: { 201: { description: 'The purchase, CONFIRMED', schema: purchaseView } },
    problems: {
      409: 'The purchase was refused (with orderId and reason), or the first call with this Idempotency-Key is still running',
      503: 'A database is unavailable, too many transactions are running, or the outcome is unknown. Retry with the same key',
    },
  })
  async placeByXa(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) reply: HttpReply,
  ): Promise<Purchase> {
    const purchase = await this.xa.place(body, key);
    if (purchase.status === 'CANCELLED') throw new PurchaseRefused(purchase.orderId, purchase.reason!);
    reply.header('location', absoluteUrl(request, `/orders/${purchase.orderId}`));
    return purchase;
  }

  @Post('saga')
  @Describe({
    summary: 'Makes a purchase with a saga',
    description:
      'Usually final at once. The goods are taken first and the money last. A refusal puts the goods back and cancels the order.',
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
  async placeBySaga(
    @Body(new Checked(purchaseBody)) body: PurchaseBody,
    @IdempotencyKey() key: string | undefined,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) reply: HttpReply,
  ): Promise<Purchase> {
    const purchase = await this.saga.place(body, key);
    if (purchase.status === 'CANCELLED') throw new PurchaseRefused(purchase.orderId, purchase.reason!);
    reply.status(purchase.status === 'CONFIRMED' ? 201 : 202);
    reply.header('location', absoluteUrl(request, `/orders/${purchase.orderId}`));
    return purchase;
  }

  @Get(':orderId')
  @Describe({
    summary: 'Returns a purchase',
    description:
      'With waitMs it answers as soon as the purchase is final, and at the latest after waitMs milliseconds.',
    query: findQuery,
    answers: { 200: { description: 'The purchase', schema: purchaseView } },
    problems: { 404: 'The order does not exist', 429: 'This caller has too many calls with waitMs at the same time' },
  })
  async find(
    @Param('orderId') orderId: string,
    @Query(new Checked(findQuery, 'query')) { waitMs = 0 }: z.infer<typeof findQuery>,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) reply: HttpReply,
  ): Promise<Purchase> {
    if (!isOrderId(orderId)) throw new NotFound('order not found');
    const order =
      waitMs === 0
        ? await findOrder(this.db.manager, orderId)
        : await this.findFinal(orderId, waitMs, request.ip, goneSignal(reply));
    if (order === null) throw new NotFound('order not found');
    return viewOf(order);
  }

  /** A long poll. It takes a place before it reads, so a refused call needs no connection. */
  private async findFinal(orderId: string, waitMs: number, caller: string, gone: AbortSignal): Promise<Order | null> {
    const leave = this.longPolls.enter(caller);
    try {
      const order = await this.reads.find(orderId);
      // An order that another app accepted may not exist here yet. It is inserted by its first message.
      if (order !== null && order.status !== 'PENDING') return order;
      await this.settled.wait(orderId, waitMs, gone);
      return await this.reads.find(orderId);
    } finally {
      leave();
    }
  }

  @Get()
  @Describe({
    summary: 'Lists purchases, newest first',
    description: `Pages have ${PAGE_DEFAULT} items by default and ${PAGE_MAX} at most. Pass nextCursor as cursor, with the same filters.`,
    query: listQuery,
    answers: { 200: { description: 'A page', schema: page } },
  })
  async list(
    @Query(new Checked(listQuery, 'query')) query: z.infer<typeof listQuery>,
  ): Promise<{ items: Purchase[]; nextCursor: string | null }> {
    const { limit = PAGE_DEFAULT, cursor, ...filters } = query;
    const after = cursor === undefined ? undefined : positionOf(cursor, filters);
    if (after === null) {
      throw new InvalidRequest([{ field: 'query.cursor', why: 'is not a nextCursor of a call with these filters' }]);
    }
    const { items, nextCursor } = await listOrders(this.db.manager, filters, { limit, after });
    return { items: items.map(viewOf), nextCursor };
  }
}
