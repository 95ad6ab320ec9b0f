import { DatabaseOpen, Describe } from '@nest-dtx/host';
import { priceList } from '@nest-dtx/shop';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { z } from 'zod';
import { allHints } from './stock-hint-table.js';

const catalog = z
  .array(
    z.object({
      sku: z.string(),
      price: z.int(),
      stock: z.object({ available: z.int(), asOf: z.iso.datetime() }).nullable(),
    }),
  )
  .meta({
    example: [
      { sku: 'book', price: 1999, stock: { available: 100, asOf: '2026-01-31T09:15:00.123Z' } },
      { sku: 'mug', price: 990, stock: null },
    ],
  });

/** HTTP API of the catalog: skus, prices and approximate stock. */
@Controller('catalog')
@UseGuards(DatabaseOpen)
export class CatalogController {
  constructor(private readonly db: DataSource) {}

  @Get()
  @Describe({
    summary: 'Returns the catalog',
    description:
      'Prices are in cents. `stock` is the last stock that inventory published, or null if it was never set.',
    answers: { 200: { description: 'The catalog', schema: catalog } },
  })
  async list(): Promise<z.infer<typeof catalog>> {
    const hints = await allHints(this.db.manager);
    return priceList.map(({ sku, price }) => ({ sku, price, stock: hints.get(sku) ?? null }));
  }
}
