import { Checked, DatabaseOpen, Describe, NotFound } from '@nest-dtx/host';
import { AVAILABLE_MAX, findStock, isSold, type Stock, setAvailable, soldSku, stockChanged } from '@nest-dtx/shop';
import { Body, Controller, Get, Param, Put, UseGuards } from '@nestjs/common';
import { inTransaction, LocalMessages } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { z } from 'zod';

const pieces = z.int().min(0).max(AVAILABLE_MAX);

const stockBody = z.strictObject({ available: pieces }).meta({ example: { available: 100 } });

export const stockView = z
  .object({ sku: soldSku, available: pieces, reserved: pieces, sold: z.int().min(0) })
  .meta({ title: 'Stock', example: { sku: 'book', available: 98, reserved: 0, sold: 2 } });
type StockView = z.infer<typeof stockView>;

/** HTTP API of stock. */
@Controller('stock')
@UseGuards(DatabaseOpen)
export class StockController {
  constructor(
    private readonly db: DataSource,
    private readonly messages: LocalMessages,
  ) {}

  @Put(':sku')
  @Describe({
    summary: 'Sets the available pieces of a sku',
    description: `For the setup of a demo. At most ${AVAILABLE_MAX}. Publishes the new stock to the order app's catalog.`,
    body: stockBody,
    answers: { 200: { description: 'The stock', schema: stockView } },
  })
  async put(
    @Param(new Checked(z.object({ sku: soldSku }), 'path')) { sku }: { sku: string },
    @Body(new Checked(stockBody)) { available }: z.infer<typeof stockBody>,
  ): Promise<StockView> {
    return inTransaction(this.db, async (tx) => {
      const stock = await setAvailable(tx, sku, available);
      await this.messages.append(tx, stockChanged, { sku, available, version: stock.version });
      return viewOfStock(stock);
    });
  }

  @Get(':sku')
  @Describe({
    summary: 'Returns the stock of a sku',
    answers: { 200: { description: 'The stock', schema: stockView } },
    problems: { 404: 'The sku is not on the price list, or its stock was never set' },
  })
  async get(@Param('sku') sku: string): Promise<StockView> {
    if (!isSold(sku)) throw new NotFound('sku is not on the price list; see GET /catalog of the order app');
    const stock = await findStock(this.db.manager, sku);
    if (stock === null) throw new NotFound('stock of this sku was never set; set it with PUT and {"available": 100}');
    return viewOfStock(stock);
  }
}

function viewOfStock({ sku, available, reserved, sold }: Stock): StockView {
  return { sku, available, reserved, sold };
}
